import assert from "node:assert/strict";
import { test } from "node:test";

import { logOf, settled, world } from "./world.mjs";

const asks = (socket) => socket.of("subscribe").map(({ topic, payload }) => [topic, payload]);
const acks = (socket) => socket.of("ack").map(({ topic, payload }) => [topic, payload]);

async function reconnect(w) {
  w.socket.drop();
  await w.clock.advance(15000);
  return w.socket.accept();
}

function subscribed(options, answer = { offset: 7, epoch: "e" }) {
  const w = world();
  const subscription = w.client.subscribe("t", null, options);
  const log = logOf(subscription);
  w.socket.accept();
  w.socket.subscribed("t", answer);
  return { w, subscription, log };
}

test("subscribe: before and after the connection is there", () => {
  const w = world();
  const got = [];
  const first = w.client.subscribe("t", (message) => got.push(message));
  assert.equal(first.position, undefined);
  const socket = w.socket.accept();
  w.client.subscribe("u");
  assert.deepEqual(asks(socket), [["t", undefined], ["u", undefined]]);
  socket.record("t", 1); // no answer came yet, so it is of an earlier subscription
  socket.subscribed("t", { offset: 7, epoch: "e" });
  socket.record("t", 8, { payload: { a: 1 }, timestamp: 5.5, id: "x" });
  assert.deepEqual(got, [{ topic: "t", offset: 8, epoch: "e", id: "x", timestamp: 5.5,
    key: undefined, payload: { a: 1 } }]);
  assert.deepEqual(first.position, { offset: 8, epoch: "e" });
  assert.deepEqual(w.errors, []);
});

test("subscribe: once a topic", () => {
  const w = world();
  w.client.subscribe("t");
  assert.throws(() => w.client.subscribe("t"), { code: "already_subscribed", topic: "t" });
});

test("subscribe: binary arrives as bytes", () => {
  const { w, log } = subscribed();
  w.socket.record("t", 8, { payload: "AAEC/w==", encoding: "base64" });
  assert.deepEqual(log, [new Uint8Array([0, 1, 2, 255])]);
});

test("return: recovered, with nothing twice and nothing missing", async () => {
  const { w, log } = subscribed();
  w.socket.record("t", 8);
  const socket = await reconnect(w);
  assert.deepEqual(asks(socket), [["t", { offset: 8, epoch: "e" }]]);
  socket.record("t", 9); // before the answer
  socket.subscribed("t", { offset: 8, epoch: "e", recovered: true });
  for (const offset of [7, 8, 9, 9, 10]) socket.record("t", offset);
  assert.deepEqual(log, [8, "recovered 8", 9, 10]);
});

test("return: lost history is told once, whether the server says it once or twice", async () => {
  for (const server_tells of [true, false]) {
    const { w, log } = subscribed();
    const socket = await reconnect(w);
    socket.subscribed("t", { offset: 12, epoch: "e" });
    if (server_tells) {
      socket.deliver({ type: "gap", topic: "t",
        payload: { from: 8, to: 12, reason: "history", next: 13 } });
    }
    socket.record("t", 13);
    assert.deepEqual(log, ["gap 8-12 history", 13]);
  }
});

test("return: not recovered, but nothing was published", async () => {
  const { w, log } = subscribed();
  const socket = await reconnect(w);
  socket.subscribed("t", { offset: 7, epoch: "e" });
  socket.record("t", 8);
  assert.deepEqual(log, ["recovered 7", 8]);
});

test("return: a new epoch is told, and its offsets count anew", async () => {
  for (const [offset, gap] of [[0, "gap 1-0 new_epoch"], [3, "gap 1-3 new_epoch"]]) {
    const { w, subscription, log } = subscribed();
    const socket = await reconnect(w);
    socket.subscribed("t", { offset, epoch: "f" });
    socket.deliver({ type: "gap", topic: "t",
      payload: { from: 1, to: offset, reason: "new_epoch", next: offset + 1 } });
    socket.record("t", offset + 1);
    assert.deepEqual(log, [gap, offset + 1]);
    assert.deepEqual(subscription.position, { offset: offset + 1, epoch: "f" });
  }
});

test("return: from a position that was kept", () => {
  const { w, log } = subscribed({ since: { offset: 3, epoch: "e" } },
    { offset: 3, epoch: "e", recovered: true });
  assert.deepEqual(asks(w.socket), [["t", { offset: 3, epoch: "e" }]]);
  w.socket.record("t", 4);
  assert.deepEqual(log, ["recovered 3", 4]);
  const since = { offset: 1, epoch: "e" };
  assert.throws(() => w.client.subscribe("a.*", null, { since }), TypeError);
});

test("gap: of a slow reader; one that reaches back is told from where we are", () => {
  const { w, log } = subscribed();
  const gap = (from, to, next, reason = "slow_consumer") =>
    w.socket.deliver({ type: "gap", topic: "t", payload: { from, to, reason, next } });
  gap(8, 10, 11);
  w.socket.record("t", 11);
  gap(10, 12, 13, "restart");
  gap(2, 5, 6);
  w.socket.record("t", 13);
  w.socket.deliver({ type: "gap", topic: "other", payload: { from: 1, to: 2, next: 3 } });
  assert.deepEqual(log, ["gap 8-10 slow_consumer", 11, "gap 12-12 restart", 13]);
});

test("jump: told, and subscribed anew from the last good record", async () => {
  const { w, log } = subscribed();
  const socket = w.socket;
  socket.record("t", 8);
  socket.record("t", 10);
  socket.record("t", 11); // of the old subscription
  assert.deepEqual(socket.of("unsubscribe").length, 1);
  assert.deepEqual(asks(socket).at(-1), ["t", { offset: 8, epoch: "e" }]);
  socket.deliver({ type: "unsubscribed", topic: "t" });
  socket.subscribed("t", { offset: 8, epoch: "e", recovered: true });
  for (const offset of [9, 10, 11]) socket.record("t", offset);
  assert.deepEqual(log, [8, "error jump", "recovered 8", 9, 10, 11]);
  assert.deepEqual(w.errors.map(({ code, topic }) => [code, topic]), [["jump", "t"]]);
  socket.record("t", 20); // after a good one it is a first jump again
  assert.equal(socket.closed, false);
});

test("jump: twice in a row ends the connection, which comes back later", async () => {
  const { w, log } = subscribed();
  const socket = w.socket;
  socket.record("t", 10);
  socket.subscribed("t", { offset: 7, epoch: "e", recovered: true });
  socket.record("t", 10);
  assert.equal(socket.closed, true);
  await w.clock.advance(1000);
  assert.deepEqual(asks(w.socket.accept()), [["t", { offset: 7, epoch: "e" }]]);
  assert.deepEqual(log, ["error jump", "recovered 7", "error jump"]);
});

test("ack: after the listener returned, whatever kind it is", async () => {
  const w = world();
  let finish;
  const seen = [];
  const subscription = w.client.subscribe("t", (message) => { seen.push(message.offset); });
  subscription.on("message", () => new Promise((resolve) => { finish = resolve; }));
  const socket = w.socket.accept();
  socket.subscribed("t", { offset: 0, epoch: "e", acks: true });
  socket.record("t", 1);
  socket.record("t", 2, { ack_required: true, id: "two" });
  await settled();
  assert.deepEqual([seen, acks(socket)], [[1, 2], []]);
  socket.record("t", 2, { ack_required: true, id: "two" }); // still at it
  await settled();
  assert.deepEqual([seen, acks(socket)], [[1, 2], []]);
  finish();
  await settled();
  assert.deepEqual(acks(socket), [["t", { offset: 2 }]]);
  socket.record("t", 2, { ack_required: true, id: "two" }); // that one was lost
  assert.deepEqual([seen, acks(socket).length], [[1, 2], 2]);
});

test("ack: none where the subscription did not ask for them", async () => {
  const { w, log } = subscribed();
  w.socket.record("t", 8, { ack_required: true });
  w.socket.record("t", 8, { ack_required: true });
  await settled();
  assert.deepEqual([log.length, acks(w.socket)], [1, []]);
});

test("ack: the next connection is one of the same session", async () => {
  const { w } = subscribed({ acks: true },
    { offset: 7, epoch: "e", acks: true, session: "s3", open: 0 });
  assert.deepEqual(asks(w.socket), [["t", { acks: true }]]);
  w.socket.deliver({ type: "error", id: "", payload: { code: "not_awaited", message: "" } });
  const socket = await reconnect(w);
  assert.equal(new URL(socket.url).searchParams.get("session"), "s3");
  assert.deepEqual(asks(socket), [["t", { offset: 7, epoch: "e", acks: true }]]);
  assert.deepEqual(w.errors, []);
});

test("ack: none for what a listener failed at; it gets that once more", async () => {
  const w = world();
  const seen = [];
  w.client.subscribe("t", async ({ offset }) => {
    seen.push(offset);
    if (seen.length === 1) throw new Error("not now");
  });
  const socket = w.socket.accept();
  socket.subscribed("t", { offset: 0, epoch: "e", acks: true });
  socket.record("t", 1, { ack_required: true });
  await settled();
  const [{ code, cause }] = w.errors;
  assert.deepEqual([code, cause.message], ["listener", "not now"]);
  socket.record("t", 2, { ack_required: true });
  socket.record("t", 1, { ack_required: true });
  await settled();
  assert.deepEqual(seen, [1, 2, 1]);
  assert.deepEqual(acks(socket).map(([, { offset }]) => offset), [2, 1]);
});

test("listeners: one that throws disturbs nobody; one can be taken away", () => {
  const { w, subscription, log } = subscribed();
  const off = subscription.on("message", () => { throw new Error("no"); });
  w.socket.record("t", 8);
  off();
  w.socket.record("t", 9);
  assert.deepEqual(log, [8, "error listener", 9]);
});

test("unsubscribe: nothing comes after it, and nothing of it after a return", async () => {
  const { w, subscription, log } = subscribed();
  w.socket.record("t", 8);
  subscription.unsubscribe();
  subscription.unsubscribe();
  assert.equal(w.socket.of("unsubscribe").length, 1);
  w.socket.record("t", 9);
  w.socket.deliver({ type: "gap", topic: "t", payload: { from: 10, to: 12, next: 13 } });
  w.socket.deliver({ type: "unsubscribed", topic: "t" });
  assert.deepEqual(log, [8]);
  assert.deepEqual(asks(await reconnect(w)), []);
});

test("unsubscribe: and subscribe at once; only the answer to the new one counts", () => {
  const { w, subscription } = subscribed();
  subscription.unsubscribe();
  const log = logOf(w.client.subscribe("t"));
  const [{ id: old }] = w.socket.of("subscribe");
  w.socket.record("t", 8);
  w.socket.deliver({ type: "subscribed", id: old, topic: "t", payload: { offset: 7, epoch: "e" } });
  w.socket.record("t", 8);
  w.socket.subscribed("t", { offset: 8, epoch: "e" });
  w.socket.record("t", 9);
  assert.deepEqual(log, [9]);
});

test("unsubscribe: what the server had against a subscription that was left is nothing", () => {
  const { w, subscription } = subscribed();
  subscription.unsubscribe();
  w.client.subscribe("t").unsubscribe();
  for (const { id } of w.socket.sent) {
    w.socket.deliver({ type: "error", id, topic: "t",
      payload: { code: "forbidden", message: "" } });
  }
  assert.deepEqual(w.errors, []);
});

test("unsubscribe: before the connection is there, and from within a listener", () => {
  const w = world();
  w.client.subscribe("t").unsubscribe();
  const log = [];
  const subscription = w.client.subscribe("u", ({ offset }) => {
    log.push(offset);
    subscription.unsubscribe();
  });
  const socket = w.socket.accept();
  assert.deepEqual(asks(socket), [["u", undefined]]);
  socket.subscribed("u", { offset: 0, epoch: "e" });
  socket.record("u", 1);
  socket.record("u", 2);
  assert.deepEqual(log, [1]);
});

test("refused: told, and tried again only after a return; what passes, before", async () => {
  const w = world();
  const log = logOf(w.client.subscribe("t"));
  const refuse = (code) => w.socket.deliver({ type: "error", id: w.socket.of("subscribe").at(-1).id,
    topic: "t", payload: { code, message: "no" } });
  w.socket.accept();
  refuse("rate_limited");
  await w.clock.advance(450);
  refuse("busy");
  await w.clock.advance(750);
  assert.equal(asks(w.socket).length, 3);
  refuse("forbidden");
  await w.clock.advance(20000);
  assert.equal(asks(w.socket).length, 3);
  assert.deepEqual(log, ["error forbidden"]);
  assert.equal(asks(await reconnect(w)).length, 1);
});

test("unsubscribe: said again until the server has heard it", async () => {
  const { w, subscription } = subscribed();
  const leaves = () => w.socket.of("unsubscribe");
  const refuse = (id, code) => w.socket.deliver(
    { type: "error", id, topic: "t", payload: { code, message: "no" } });
  subscription.unsubscribe();
  refuse(leaves()[0].id, "rate_limited");
  await w.clock.advance(450);
  assert.equal(leaves().length, 2);
  refuse(leaves()[1].id, "rate_limited");
  const log = logOf(w.client.subscribe("t"));
  refuse(w.socket.of("subscribe").at(-1).id, "already_subscribed");
  w.socket.record("t", 8); // of the old one
  await w.clock.advance(15000);
  assert.deepEqual(w.socket.sent.slice(-2).map(({ type }) => type), ["unsubscribe", "subscribe"]);
  w.socket.subscribed("t", { offset: 8, epoch: "e" });
  w.socket.record("t", 9);
  assert.deepEqual([log, w.errors], [[9], []]);
});

test("for await: records in order; ends with unsubscribe, after what is buffered", async () => {
  const { w, subscription } = subscribed();
  const got = [];
  const loop = (async () => {
    for await (const { payload } of subscription) got.push(payload);
  })();
  w.socket.record("t", 8);
  await settled();
  assert.deepEqual(got, [8]);
  w.socket.record("t", 9);
  w.socket.record("t", 10);
  subscription.unsubscribe();
  await loop;
  assert.deepEqual(got, [8, 9, 10]);
  for await (const _ of subscription) assert.fail();
});

test("for await: a loop that is too slow is told what it lost", async () => {
  const { w, subscription, log } = subscribed({ bufferMax: 2 });
  const iterator = subscription[Symbol.asyncIterator]();
  for (const offset of [8, 9, 10, 11]) w.socket.record("t", offset);
  assert.deepEqual(log, [8, 9, 10, "gap 8-8 overflow", 11, "gap 9-9 overflow"]);
  assert.equal((await iterator.next()).value.payload, 10);
  assert.equal((await iterator.next()).value.payload, 11);
});

test("for await: acks what the loop came back from, not what it was left at", async () => {
  const { w, subscription } = subscribed({ bufferMax: 2, acks: true },
    { offset: 7, epoch: "e", acks: true });
  const iterator = subscription[Symbol.asyncIterator]();
  for (const offset of [8, 9, 10]) w.socket.record("t", offset, { ack_required: true });
  const acked = () => acks(w.socket).map(([, { offset }]) => offset);
  await iterator.next();
  await settled();
  assert.deepEqual(acked(), []);
  await iterator.next();
  await settled();
  assert.deepEqual(acked(), [9]);
  await iterator.return();
  await settled();
  assert.deepEqual(acked(), [9]);
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  assert.deepEqual(w.errors, []);
  // Nobody is left who would fail at what comes again.
  for (const offset of [8, 10]) w.socket.record("t", offset, { ack_required: true });
  await settled();
  assert.deepEqual(acked(), [9, 8, 10]);
});

test("for await: throws when the server ends it, and not when we do", async () => {
  const { w, subscription } = subscribed();
  const failing = subscription[Symbol.asyncIterator]().next();
  w.socket.drop(4501, "replaced");
  await assert.rejects(failing, { code: "closed", closeCode: 4501, message: "replaced" });
  const other = subscribed();
  const ending = other.subscription[Symbol.asyncIterator]().next();
  other.w.client.close();
  assert.deepEqual(await ending, { done: true, value: undefined });
});
