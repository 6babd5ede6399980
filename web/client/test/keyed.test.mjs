import assert from "node:assert/strict";
import { test } from "node:test";

import { logOf, settled, world } from "./world.mjs";

const asks = (socket) => socket.of("subscribe").map(({ topic, payload }) => [topic, payload]);
const entries = (state) => Object.fromEntries(state);
const put = (socket, topic, offset, key, payload) => socket.record(topic, offset, { key, payload });

async function reconnect(w) {
  w.socket.drop();
  await w.clock.advance(15000);
  return w.socket.accept();
}

function keyed(options, answer) {
  const w = world();
  const subscription = w.client.subscribe("t", null, options);
  const log = logOf(subscription);
  w.socket.accept();
  w.socket.subscribed("t", { keyed: true, epoch: "e", ...answer });
  return { w, subscription, log };
}

test("snapshot: asked for with state, complete with the head, then changes", () => {
  const { w, subscription, log } = keyed({ state: true }, { offset: 0, snapshot: true, head: 9 });
  assert.deepEqual(asks(w.socket), [["t", { snapshot: true }]]);
  const { state } = subscription;
  put(w.socket, "t", 3, "a", 1);
  assert.deepEqual(entries(state), {});
  put(w.socket, "t", 9, "b", 2);
  assert.deepEqual(entries(state), { a: 1, b: 2 });
  put(w.socket, "t", 14, "b", 3); // a jump: what lay between was superseded
  put(w.socket, "t", 15, "a", null);
  put(w.socket, "t", 15, "a", 5); // a repeat
  assert.deepEqual(entries(state), { b: 3 });
  assert.equal(subscription.state, state);
  assert.deepEqual(log, [["a", 1], ["b", 2], "snapshot 9", ["b", 3], ["a", null]]);
  assert.deepEqual(w.errors, []);
});

test("snapshot: of nothing is complete at once", () => {
  const { log } = keyed({ state: true }, { offset: 0, snapshot: true, head: 0 });
  assert.deepEqual(log, ["snapshot 0"]);
});

test("snapshot: its offset may be that of the head; older records still count", () => {
  const { w, log } = keyed({ snapshot: true }, { offset: 9, snapshot: true, head: 9 });
  put(w.socket, "t", 2, "a", 1);
  w.socket.deliver({ type: "gap", topic: "t",
    payload: { from: 1, to: 9, reason: "history", next: 10 } });
  put(w.socket, "t", 9, "b", 1);
  assert.deepEqual(log, [["a", 1], "gap 1-9 history", ["b", 1], "snapshot 9"]);
});

test("state: listeners see the record in it already", () => {
  const { w, subscription } = keyed({ state: true }, { offset: 0, snapshot: true, head: 0 });
  const seen = [];
  subscription.on("message", ({ key }) => seen.push(subscription.state.get(key)));
  put(w.socket, "t", 1, "a", "x");
  assert.deepEqual(seen, ["x"]);
});

test("return: recovered, the state goes on; also in the middle of a snapshot", async () => {
  const { w, subscription, log } = keyed({ state: true }, { offset: 0, snapshot: true, head: 9 });
  put(w.socket, "t", 3, "a", 1);
  const socket = await reconnect(w);
  assert.deepEqual(asks(socket), [["t", { offset: 3, epoch: "e", snapshot: true }]]);
  socket.subscribed("t", { offset: 3, epoch: "e", keyed: true, recovered: true, head: 11 });
  put(socket, "t", 9, "b", 2);
  assert.deepEqual(entries(subscription.state), {});
  put(socket, "t", 11, "c", 3);
  assert.deepEqual(entries(subscription.state), { a: 1, b: 2, c: 3 });
  assert.deepEqual(log, [["a", 1], "recovered 3", ["b", 2], ["c", 3], "snapshot 11"]);
});

test("return: a new snapshot replaces the state in one step, deleted keys included", async () => {
  for (const epoch of ["e", "f"]) {
    const { w, subscription, log } = keyed({ state: true }, { offset: 0, snapshot: true, head: 2 });
    put(w.socket, "t", 1, "a", 1);
    put(w.socket, "t", 2, "b", 1);
    const { state } = subscription;
    const socket = await reconnect(w);
    socket.subscribed("t", { offset: 0, epoch, keyed: true, snapshot: true, head: 8 });
    put(socket, "t", 2, "b", 1);
    assert.deepEqual(entries(state), { a: 1, b: 1 });
    put(socket, "t", 8, "c", 1);
    assert.deepEqual(entries(state), { b: 1, c: 1 });
    assert.equal(log.filter((word) => word === "snapshot 2" || word === "snapshot 8").length, 2);
    assert.ok(!log.some((word) => String(word).startsWith("gap")));
  }
});

test("return: without a snapshot what was missed is a gap", async () => {
  const { w, log } = keyed({}, { offset: 2, snapshot: false, head: 2 });
  const socket = await reconnect(w);
  socket.subscribed("t", { offset: 8, epoch: "e", keyed: true, snapshot: false, head: 8 });
  socket.deliver({ type: "gap", topic: "t",
    payload: { from: 3, to: 8, reason: "history", next: 9 } });
  put(socket, "t", 12, "a", 1);
  assert.deepEqual(log, ["gap 3-8 history", ["a", 1]]);
});

test("max rate and snapshot go to the server as they are", () => {
  const { w } = keyed({ state: true, snapshot: false, maxRate: 4 }, { offset: 0, snapshot: false });
  assert.deepEqual(asks(w.socket), [["t", { snapshot: false, max_rate: 4 }]]);
  const since = { offset: 1, epoch: "e" };
  assert.throws(() => w.client.subscribe("u", null, { state: true, since }), TypeError);
});

// --- Patterns ---

function pattern(filter = "p.*", options = {}) {
  const w = world();
  const subscription = w.client.subscribe(filter, null, options);
  const log = logOf(subscription);
  w.socket.accept();
  w.socket.subscribed(filter, { pattern: true });
  return { w, subscription, log };
}

const bring = (socket, topic, by, payload = {}) => socket.deliver({ type: "subscribed", topic,
  payload: { offset: 0, epoch: `${topic}-1`, recovered: false, pattern: by, ...payload } });

test("pattern: brings topics, each with its own place", () => {
  const { w, subscription, log } = pattern();
  bring(w.socket, "p.a", "p.*", { offset: 4 });
  bring(w.socket, "p.b", "p.*");
  w.socket.record("p.a", 5, { payload: "a5" });
  w.socket.record("p.b", 1, { payload: "b1" });
  w.socket.record("p.c", 1, { payload: "of nobody's" });
  assert.deepEqual(log, ["a5", "b1"]);
  assert.deepEqual([...subscription.topics.keys()], ["p.a", "p.b"]);
  assert.deepEqual(subscription.topics.get("p.a").position, { offset: 5, epoch: "p.a-1" });
});

test("pattern: on return first the known topics by name, then the pattern", async () => {
  const { w, log } = pattern();
  w.client.subscribe("other");
  bring(w.socket, "p.a", "p.*");
  w.socket.record("p.a", 1);
  const socket = await reconnect(w);
  assert.deepEqual(asks(socket), [["other", undefined], ["p.a", { offset: 1, epoch: "p.a-1" }],
    ["p.*", undefined]]);
  socket.subscribed("p.a", { offset: 1, epoch: "p.a-1", recovered: true });
  socket.record("p.a", 2);
  socket.subscribed("p.*", { pattern: true });
  bring(socket, "p.a", "p.*", { offset: 2 }); // it may say so of a known one
  bring(socket, "p.b", "p.*");
  socket.record("p.a", 3);
  socket.record("p.b", 1);
  assert.deepEqual(log, [1, "recovered 1", 2, 3, 1]);
});

test("pattern: by name no more than the server allows; the gap of the others is told", async () => {
  const w = world();
  const log = logOf(w.client.subscribe("p.>"));
  const welcome = { limits: { topics: 2 } };
  w.socket.accept(welcome);
  w.socket.subscribed("p.>", { pattern: true });
  for (const name of ["p.a", "p.b", "p.c.d"]) bring(w.socket, name, "p.>");
  w.socket.drop();
  await w.clock.advance(1000);
  w.socket.accept(welcome);
  assert.deepEqual(asks(w.socket).map(([topic]) => topic), ["p.a", "p.>"]);
  w.socket.subscribed("p.>", { pattern: true });
  bring(w.socket, "p.b", "p.>", { offset: 3 });
  assert.deepEqual(log, ["gap 1-3 history"]);
});

test("pattern: a topic subscribed by name too is one, and both hear of it", async () => {
  const { w, subscription, log } = pattern("p.>");
  bring(w.socket, "p.a", "p.>");
  const named = w.client.subscribe("p.a");
  const heard = logOf(named);
  const begun = [];
  named.on("subscribed", (event) => begun.push(event));
  await settled();
  assert.deepEqual(begun,
    [{ topic: "p.a", offset: 0, epoch: "p.a-1", recovered: false, keyed: false }]);
  w.socket.record("p.a", 1);
  assert.deepEqual([log, heard, w.errors], [[1], [1], []]);
  assert.deepEqual(named.position, { offset: 1, epoch: "p.a-1" });

  assert.deepEqual(asks(w.socket).map(([topic]) => topic), ["p.>"]);

  // Without the pattern the topic is asked for by name, from where it is.
  subscription.unsubscribe();
  assert.deepEqual(w.socket.of("unsubscribe").map(({ topic }) => topic), ["p.>"]);
  assert.deepEqual(asks(w.socket).at(-1), ["p.a", { offset: 1, epoch: "p.a-1" }]);
  w.socket.subscribed("p.a", { offset: 1, epoch: "p.a-1", recovered: true });
  w.socket.record("p.a", 2);
  assert.deepEqual([log, heard], [[1], [1, "recovered 1", 2]]);
});

test("pattern: one that was on its way brings what was asked for by name meanwhile", () => {
  const { w, log } = pattern();
  const heard = logOf(w.client.subscribe("p.a"));
  bring(w.socket, "p.a", "p.*");
  w.socket.deliver({ type: "error", id: w.socket.of("subscribe").at(-1).id, topic: "p.a",
    payload: { code: "already_subscribed", message: "" } });
  w.socket.record("p.a", 1);
  assert.deepEqual([log, heard, w.errors], [[1], [1], []]);
});

test("pattern: leaving it leaves what was asked for by name on return", async () => {
  const { w, subscription } = pattern();
  bring(w.socket, "p.a", "p.*");
  const socket = await reconnect(w);
  socket.subscribed("p.a", { offset: 0, epoch: "p.a-1", recovered: true });
  subscription.unsubscribe();
  assert.deepEqual(socket.of("unsubscribe").map(({ topic }) => topic), ["p.*", "p.a"]);
  bring(socket, "p.b", "p.*"); // on its way
  socket.record("p.b", 1);
  assert.deepEqual(asks(await reconnect(w)), []);
});

test("pattern: a name under a pattern may go, the pattern stays", () => {
  const { w, log } = pattern();
  const named = w.client.subscribe("p.a");
  w.socket.subscribed("p.a", { offset: 0, epoch: "p.a-1" });
  named.unsubscribe();
  w.socket.record("p.a", 1);
  assert.deepEqual(log, [1]);
});

test("pattern: left and taken again at once, what the old one brings is not of the new one", () => {
  const { w, subscription } = pattern();
  subscription.unsubscribe();
  const log = logOf(w.client.subscribe("p.*"));
  bring(w.socket, "p.a", "p.*");
  w.socket.subscribed("p.*", { pattern: true });
  bring(w.socket, "p.a", "p.*", { offset: 3 });
  w.socket.record("p.a", 4);
  assert.deepEqual([log, w.errors], [[4], []]);
});

test("pattern: states by topic", () => {
  const { w, subscription, log } = pattern("p.*", { state: true });
  assert.deepEqual(asks(w.socket), [["p.*", { snapshot: true }]]);
  bring(w.socket, "p.a", "p.*", { keyed: true, snapshot: true, head: 3 });
  put(w.socket, "p.a", 3, "k", 1);
  assert.deepEqual(entries(subscription.topics.get("p.a").state), { k: 1 });
  assert.deepEqual(log, [["k", 1], "snapshot 3"]);
});

test("pattern: a jump in a topic that came by one alone ends the connection", () => {
  const { w, log } = pattern();
  bring(w.socket, "p.a", "p.*");
  w.socket.record("p.a", 2);
  assert.equal(w.sockets[0].closed, true);
  assert.deepEqual(log, ["error jump"]);
});

test("pattern: a server that knows none is told", () => {
  const w = world();
  const log = logOf(w.client.subscribe("p.*"));
  w.socket.accept();
  w.socket.subscribed("p.*", { offset: 0, epoch: "e" });
  assert.deepEqual(log, ["error no_wildcards"]);
});

test("pattern: which topics match", () => {
  for (const [filter, yes, no] of [
    ["p.*", ["p.a"], ["p", "p.", "p.a.b", "q.a"]],
    ["p.>", ["p.a", "p.a.b"], ["p", "q.a"]],
    [">", ["p", "p.a"], []],
    ["*.b", ["a.b"], ["a.b.c", "axb"]],
    ["a+b.*", ["a+b.c"], ["aab.c"]],
  ]) {
    const { w, subscription } = pattern(filter);
    for (const name of [...yes, ...no]) bring(w.socket, name, filter);
    assert.deepEqual([...subscription.topics.keys()], yes, filter);
  }
});
