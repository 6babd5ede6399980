import assert from "node:assert/strict";
import { test } from "node:test";

import { RingcastError } from "../dist/ringcast.js";
import { fateOf, settled, world } from "./world.mjs";

const ack = { ack: true };
const place = (offset, epoch = "e") => ({ offset, epoch });
const acked = (socket, id, offset) =>
  socket.deliver({ type: "ack", id, topic: "t", payload: place(offset) });
const refused = (socket, id, code) =>
  socket.deliver({ type: "error", id, topic: "t", payload: { code, message: "no" } });
const ids = (socket) => socket.of("publish").map(({ id }) => id);
const payloads = (socket) => socket.of("publish").map(({ payload }) => payload);

async function reconnect(w, welcome) {
  w.socket.drop();
  await w.clock.advance(15000);
  return w.socket.accept(welcome);
}

test("publish: goes out as it is on the wire", async () => {
  const w = world();
  w.socket.accept();
  assert.equal(await w.client.publish("t", { a: 1 }, { key: "k" }), undefined);
  void w.client.publish("t", null, ack).catch(() => {});
  const [{ id, ...plain }, { id: other, ...asking }] = w.socket.of("publish");
  assert.deepEqual(plain, { type: "publish", topic: "t", key: "k", payload: { a: 1 } });
  assert.deepEqual(asking, { type: "publish", topic: "t", ack_required: true, payload: null });
  assert.notEqual(id, other);
});

test("publish: ids differ between clients", () => {
  const first = world({ random: () => 0.123456789 });
  const second = world({ random: () => 0.123456788 });
  for (const w of [first, second]) {
    w.socket.accept();
    void w.client.publish("t", 1);
  }
  assert.notEqual(ids(first.socket)[0], ids(second.socket)[0]);
  assert.ok(ids(first.socket)[0].length <= 64);
});

test("publish: an ack tells the place, and a second one nothing more", async () => {
  const w = world();
  w.socket.accept();
  const fate = fateOf(w.client.publish("t", 1, ack));
  const [id] = ids(w.socket);
  await settled();
  assert.equal(fate.state, "pending");
  assert.equal(w.client.pending, 1);
  acked(w.socket, id, 7);
  acked(w.socket, id, 8);
  refused(w.socket, id, "rate_limited"); // the answer to a repeat
  await settled();
  assert.deepEqual(fate, { state: "resolved", value: place(7) });
  assert.equal(w.client.pending, 0);
  assert.deepEqual(w.errors, []);
});

test("publish: after a loss the unanswered go again, in order, under their ids", async () => {
  const w = world();
  const fates = [0, 1, 2].map((n) => fateOf(w.client.publish("t", n, ack)));
  const first = w.socket.accept();
  assert.deepEqual(payloads(first), [0, 1, 2]);
  acked(first, ids(first)[1], 1);
  fates.push(fateOf(w.client.publish("t", 3, ack)));
  first.readyState = 2; // it is closing: the loss is not known yet
  fates.push(fateOf(w.client.publish("t", 4, ack)));
  const second = await reconnect(w);
  assert.deepEqual(payloads(second), [0, 2, 3, 4]);
  assert.equal(ids(second)[0], ids(first)[0]);
  assert.equal(ids(second)[1], ids(first)[2]);
  ids(second).forEach((id, index) => acked(second, id, index + 2));
  await settled();
  assert.deepEqual(fates.map(({ value }) => value.offset), [2, 1, 3, 4, 5]);
});

test("publish: what was sent on a new connection has its time anew", async () => {
  const w = world();
  w.socket.accept();
  void w.client.publish("t", 1, ack).catch(() => {});
  await w.clock.advance(7000);
  w.socket.drop();
  await w.clock.advance(450);
  const second = w.socket.accept();
  await w.clock.advance(5000);
  assert.equal(payloads(second).length, 1);
});

test("publish: without an answer it is sent again, ever more slowly, to its end", async () => {
  const w = world();
  w.socket.accept({ ping_interval_s: 1000 });
  const fate = fateOf(w.client.publish("t", 1, ack));
  const times = [];
  for (let s = 0; s < 60; s += 1) {
    const before = ids(w.socket).length;
    await w.clock.advance(1000);
    if (ids(w.socket).length > before) times.push(s + 1);
  }
  assert.deepEqual(times, [8, 20, 38, 55]); // 5 s + half of the span up to 10, 20, 30 s
  assert.equal(new Set(ids(w.socket)).size, 1);
  await settled();
  assert.deepEqual([fate.code, fate.uncertain], ["timeout", true]);
  assert.ok(fate.error instanceof RingcastError && fate.error instanceof Error);
  assert.deepEqual([fate.error.topic, fate.error.id], ["t", ids(w.socket)[0]]);
  refused(w.socket, ids(w.socket)[0], "forbidden"); // too late to matter
  acked(w.socket, ids(w.socket)[0], 1);
  assert.deepEqual(w.errors, []);
});

test("publish: what was never sent is certain not to be published", async () => {
  const w = world();
  const fate = fateOf(w.client.publish("t", 1, { ack: true, timeout: 100 }));
  const plain = fateOf(w.client.publish("t", 2, { timeout: 100 }));
  await w.clock.advance(100);
  assert.deepEqual([fate.code, fate.uncertain], ["timeout", false]);
  assert.deepEqual([plain.code, plain.uncertain], ["timeout", false]);
  assert.deepEqual(w.errors.map(({ code }) => code), ["timeout"]); // of the plain one
});

test("publish: an error rejects; uncertain only if it was sent before", async () => {
  const w = world();
  const first = w.socket.accept();
  const once = fateOf(w.client.publish("t", 1, ack));
  const twice = fateOf(w.client.publish("t", 2, ack));
  refused(first, ids(first)[0], "forbidden");
  const second = await reconnect(w);
  refused(second, ids(second)[0], "forbidden");
  await settled();
  assert.deepEqual([once.code, once.uncertain], ["forbidden", false]);
  assert.deepEqual([twice.code, twice.uncertain], ["forbidden", true]);
});

test("publish: what passes by itself is tried again", async () => {
  const w = world();
  const socket = w.socket.accept();
  const fate = fateOf(w.client.publish("t", 1, ack));
  refused(socket, ids(socket)[0], "busy");
  await w.clock.advance(450);
  refused(socket, ids(socket)[1], "rate_limited");
  await w.clock.advance(749);
  assert.equal(ids(socket).length, 2);
  await w.clock.advance(1);
  assert.deepEqual(new Set(ids(socket)).size, 1);
  refused(socket, ids(socket)[2], "too_large");
  await settled();
  assert.deepEqual([fate.code, fate.uncertain], ["too_large", false]);
});

test("publish: an error to one that wants no ack is an event", async () => {
  const w = world();
  w.socket.accept();
  await w.client.publish("t", 1);
  refused(w.socket, ids(w.socket)[0], "rate_limited");
  const [id] = ids(w.socket);
  assert.deepEqual(w.errors.map((error) => [error.code, error.id]), [["rate_limited", id]]);
});

test("publish: a record that carries the id is no answer", async () => {
  const w = world();
  w.client.subscribe("t");
  w.socket.accept();
  w.socket.subscribed("t", { offset: 0, epoch: "e" });
  const fate = fateOf(w.client.publish("t", 1, ack));
  w.socket.record("t", 1, { id: ids(w.socket)[0] });
  await settled();
  assert.equal(fate.state, "pending");
});

test("publish: what JSON cannot say rejects", async () => {
  const w = world();
  w.socket.accept();
  await assert.rejects(w.client.publish("t", 1n, ack), TypeError);
  assert.equal(w.client.pending, 0);
});

test("queue: of too many the oldest that was not sent is refused, and told so", async () => {
  const w = world({ queueMax: 3 });
  const fates = [0, 1, 2, 3, 4].map((n) => fateOf(w.client.publish("t", n, n % 2 ? ack : {})));
  await settled();
  assert.deepEqual(fates.map(({ code }) => code),
    ["queue_full", "queue_full", undefined, undefined, undefined]);
  assert.equal(fates[1].uncertain, false);
  const socket = w.socket.accept();
  assert.deepEqual(payloads(socket), [2, 3, 4]);
  assert.equal(w.client.pending, 1);
});

test("queue: what was sent keeps its place; then the new one is refused", async () => {
  const w = world({ queueMax: 2 });
  w.socket.accept();
  const sent = [1, 2].map((n) => fateOf(w.client.publish("t", n, ack)));
  const more = fateOf(w.client.publish("t", 3, ack));
  w.socket.drop();
  const offline = fateOf(w.client.publish("t", 4, ack));
  await settled();
  assert.deepEqual(sent.map(({ state }) => state), ["pending", "pending"]);
  assert.deepEqual([more.code, more.uncertain, offline.code], ["queue_full", false, "queue_full"]);
});

test("queue: no faster than the server's rate, and in order", async () => {
  const w = world();
  for (let n = 0; n < 25; n += 1) void w.client.publish("t", n);
  const socket = w.socket.accept({ limits: { messages_per_second: 10 } });
  assert.equal(payloads(socket).length, 10);
  void w.client.publish("t", 25);
  await w.clock.advance(500);
  assert.equal(payloads(socket).length, 15);
  await w.clock.advance(1100);
  assert.deepEqual(payloads(socket), Array.from({ length: 26 }, (_, n) => n));
  assert.equal(w.client.pending, 0);
});

test("queue: waits for a full socket", async () => {
  const w = world();
  w.socket.accept();
  w.socket.bufferedAmount = 2 << 20;
  void w.client.publish("t", 1);
  await w.clock.advance(1000);
  assert.deepEqual(payloads(w.socket), []);
  w.socket.bufferedAmount = 0;
  await w.clock.advance(100);
  assert.deepEqual(payloads(w.socket), [1]);
});

test("queue: what is larger than the server takes is refused here, counted in UTF-8", async () => {
  const w = world();
  const limits = { message_size: 200 };
  const early = fateOf(w.client.publish("t", "x".repeat(300), ack));
  w.socket.accept({ limits });
  const ascii = fateOf(w.client.publish("t", "x".repeat(100)));
  const wide = fateOf(w.client.publish("t", "\u20ac".repeat(60)));
  await settled();
  assert.deepEqual([early.code, early.uncertain], ["too_large", false]);
  assert.equal(ascii.state, "resolved");
  assert.equal(wide.code, "too_large");
});

test("close: what has no answer is told so", async () => {
  for (const end of [(w) => w.client.close(), (w) => w.socket.drop(4501)]) {
    const w = world();
    w.socket.accept();
    const sent = fateOf(w.client.publish("t", 1, ack));
    w.socket.readyState = 2;
    const waiting = fateOf(w.client.publish("t", 2, ack));
    end(w);
    await settled();
    assert.deepEqual([sent.code, sent.uncertain], ["closed", true]);
    assert.deepEqual([waiting.code, waiting.uncertain], ["closed", false]);
    assert.equal(w.clock.pending, 0);
  }
});

test("history: asks, and asks again after a loss", async () => {
  const w = world();
  w.socket.accept();
  const fate = fateOf(w.client.history("t", { from: 3, limit: 2 }));
  const [{ id, ...question }] = w.socket.of("history");
  assert.deepEqual(question, { type: "history", topic: "t", payload: { from: 3, limit: 2 } });
  const second = await reconnect(w);
  assert.equal(second.of("history")[0].id, id);
  const record = { type: "data_update", id: "x", timestamp: 5, topic: "t", offset: 3,
    payload: "AQI=", encoding: "base64" };
  second.deliver({ type: "history", id, topic: "t",
    payload: { epoch: "e", first: 2, next: 9, more: true, records: [record] } });
  await settled();
  assert.deepEqual(fate.value, {
    epoch: "e", first: 2, next: 9, more: true,
    records: [{ topic: "t", offset: 3, epoch: "e", id: "x", timestamp: 5, key: undefined,
      payload: new Uint8Array([1, 2]) }],
  });
});

test("history: an error is an error", async () => {
  const w = world();
  w.socket.accept();
  const fate = fateOf(w.client.history("t"));
  refused(w.socket, w.socket.of("history")[0].id, "not_subscribed");
  await settled();
  assert.equal(fate.code, "not_subscribed");
});
