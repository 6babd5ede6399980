import assert from "node:assert/strict";
import { test } from "node:test";

import { RingcastError, connect } from "../dist/ringcast.js";
import { settled, world } from "./world.mjs";

const last = (w) => w.states.at(-1);

test("connect: addresses, and what is none", () => {
  const dialled = [];
  const WebSocket = class {
    constructor(url) { dialled.push(url); }
    close() {}
  };
  for (const url of ["http://h/ws", "https://h/ws", "ws://h:1/ws?x=1", new URL("wss://h/ws")]) {
    connect(url, { WebSocket }).close();
  }
  assert.deepEqual(dialled, ["ws://h/ws", "wss://h/ws", "ws://h:1/ws?x=1", "wss://h/ws"]);
  assert.throws(() => connect("/ws", { WebSocket }), TypeError);
  globalThis.location = { href: "https://page.example/a/b" };
  connect("/ws", { WebSocket }).close();
  delete globalThis.location;
  assert.equal(dialled.at(-1), "wss://page.example/ws");
});

test("connect: without a WebSocket anywhere it says so", () => {
  const { WebSocket } = globalThis;
  delete globalThis.WebSocket;
  assert.throws(() => connect("ws://h/ws"), /options.WebSocket/);
  if (WebSocket) globalThis.WebSocket = WebSocket;
});

test("connection: connected after the welcome, not before", () => {
  const w = world();
  assert.equal(w.socket.protocol, "ringcast.v1");
  assert.equal(w.client.clientId, undefined);
  w.socket.open();
  assert.equal(w.client.state.state, "connecting");
  w.socket.welcome({ limits: { message_size: 5 } });
  assert.deepEqual(w.client.state, { state: "connected", clientId: "c1" });
  assert.deepEqual(w.client.limits, { message_size: 5 });
});

test("connection: comes back under the name of the first welcome", async () => {
  const w = world();
  w.socket.accept();
  w.socket.drop();
  await w.clock.advance(15000);
  assert.equal(w.socket.url, "ws://test/ws?client_id=c1");
  w.socket.accept({ client_id: "c2" });
  assert.equal(w.client.clientId, "c1");
  w.socket.drop();
  await w.clock.advance(15000);
  assert.equal(w.socket.url, "ws://test/ws?client_id=c1");
});

test("connection: a name of one's own", () => {
  const w = world({ clientId: "me & you" });
  assert.equal(w.socket.url, "ws://test/ws?client_id=me+%26+you");
});

test("connection: full jitter, growing, with a ceiling; begins anew after a welcome", async () => {
  for (const [random, expected] of [
    [() => 0, [300, 300, 300, 300]],
    [() => 0.5, [450, 750, 1350, 2550]],
    [() => 1 - 1e-9, [600, 1200, 2400, 4800, 9600, 15000, 15000]],
  ]) {
    const w = world({ random });
    for (const ms of expected) {
      w.socket.drop();
      assert.equal(Math.round(last(w).retryMs), ms);
      await w.clock.advance(ms + 1);
    }
    w.socket.accept().drop();
    assert.equal(Math.round(last(w).retryMs), expected[0]);
  }
});

test("connection: which close codes are final", async () => {
  const final = [1002, 1003, 1007, 1008, 1009, 4500, 4501, 4999];
  for (const code of [1000, 1001, 1006, 1011, 1012, 1013, 3500, 4000, 4008, 4029, 4499, ...final]) {
    const w = world();
    w.socket.accept().drop(code, "why");
    await w.clock.advance(60000);
    assert.equal(w.sockets.length === 1, final.includes(code), `${code}`);
    if (!final.includes(code)) continue;
    assert.deepEqual(last(w), { state: "closed", closeCode: code, reason: "why" });
  }
});

test("connection: a told delay is kept to, whatever the reason is", () => {
  for (const [reason, ms] of [
    ['{"retry_ms":1234}', 1234], ['{"retry_ms":0}', 0], ['{"retry_ms":1e12}', 600000],
    ["", 450], ["bye", 450], ["null", 450], ['{"retry_ms":-1}', 450], ['{"retry_ms":"x"}', 450],
  ]) {
    const w = world();
    w.socket.accept().drop(1012, reason);
    assert.deepEqual(last(w), { state: "waiting", retryMs: ms, closeCode: 1012, reason });
  }
});

test("connection: who kept sending too fast comes back more slowly", () => {
  const w = world();
  w.socket.accept().drop(4029);
  assert.equal(last(w).retryMs, 300 + 0.5 * 9300);
});

test("connection: pings on silence, and gives up without an answer", async () => {
  const w = world();
  const socket = w.socket.accept();
  await w.clock.advance(24999);
  assert.equal(socket.of("ping").length, 0);
  await w.clock.advance(1);
  assert.equal(socket.of("ping").length, 1);
  socket.deliver({ type: "pong", id: socket.of("ping")[0].id });
  await w.clock.advance(34999);
  assert.equal(socket.of("ping").length, 2);
  assert.equal(socket.closed, false);
  await w.clock.advance(10000);
  assert.equal(socket.closed, true);
  assert.ok(w.sockets.length > 1);
  const before = w.states.length;
  socket.onclose({ code: 4501, reason: "" }); // the last word of the old one changes nothing
  assert.equal(w.states.length, before);
});

test("connection: any message is a sign of life", async () => {
  const w = world();
  const socket = w.socket.accept({ ping_interval_s: 2 });
  for (let i = 0; i < 20; i += 1) {
    await w.clock.advance(1999);
    socket.deliver({ type: "something new" });
  }
  assert.equal(socket.of("ping").length, 0);
  assert.equal(socket.closed, false);
});

test("connection: a handshake that hangs is given up", async () => {
  const w = world();
  await w.clock.advance(14999);
  assert.equal(w.socket.closed, false);
  await w.clock.advance(1);
  assert.equal(w.socket.closed, true);
  assert.equal(last(w).state, "waiting");
});

test("connection: one that opens and says nothing is given up too", async () => {
  const w = world();
  w.socket.open();
  await w.clock.advance(15000);
  assert.equal(w.sockets[0].closed, true);
});

test("ping: measures the way there and back", async () => {
  const w = world();
  assert.equal(await w.client.ping(), undefined);
  const socket = w.socket.accept();
  const first = w.client.ping();
  await w.clock.advance(7);
  const second = w.client.ping();
  await w.clock.advance(2);
  for (const { id } of socket.of("ping")) socket.deliver({ type: "pong", id });
  assert.deepEqual(await Promise.all([first, second]), [9, 2]);
  const third = w.client.ping();
  socket.drop();
  assert.equal(await third, undefined);
});

test("token: asked for before every attempt, sent in a message of its own", async () => {
  let count = 0;
  const w = world({ token: async () => `t${++count}` });
  await settled();
  assert.equal(w.socket.url, "ws://test/ws");
  w.socket.accept();
  assert.deepEqual(w.socket.sent.map(({ type, payload }) => [type, payload]),
    [["auth", { token: "t1" }]]);
  w.socket.drop();
  await w.clock.advance(1000);
  w.socket.accept();
  assert.deepEqual(w.socket.of("auth")[0].payload, { token: "t2" });
});

test("token: in the query, from a function that returns it", async () => {
  const w = world({ token: () => "a b", tokenIn: "query" });
  await settled();
  assert.equal(w.socket.url, "ws://test/ws?token=a+b");
  w.socket.accept();
  assert.deepEqual(w.socket.sent, []);
});

test("token: a callback that fails is told, one that hangs is given up", async () => {
  let act = () => { throw new Error("no"); };
  const w = world({ token: () => act() });
  await settled();
  assert.equal(w.errors[0].code, "token");
  assert.equal(w.errors[0].cause.message, "no");
  act = () => new Promise(() => {});
  await w.clock.advance(450 + 15000);
  assert.equal(last(w).state, "waiting");
  act = () => "yes";
  await w.clock.advance(15000);
  assert.equal(w.sockets.length, 1);
});

test("token: what comes after the end is not used", async () => {
  let resolve;
  const w = world({ token: () => new Promise((r) => { resolve = r; }) });
  await settled();
  w.client.close();
  resolve("late");
  await settled();
  assert.equal(w.sockets.length, 0);
  assert.equal(w.clock.pending, 0);
});

test("close: ends everything, in any state, and leaves no timer", async () => {
  for (const reach of [
    () => {}, (w) => w.socket.open(), (w) => w.socket.accept(), (w) => w.socket.drop(),
  ]) {
    const w = world();
    reach(w);
    w.client.close("enough");
    w.client.close();
    assert.deepEqual(last(w), { state: "closed", closeCode: 1000, reason: "enough" });
    assert.equal(w.clock.pending, 0);
    assert.throws(() => w.client.subscribe("t"), { code: "closed" });
    await assert.rejects(w.client.publish("t", 1, { ack: true }),
      { code: "closed", uncertain: false });
  }
});

test("close: from within any state listener", async () => {
  for (const state of ["connected", "waiting", "connecting"]) {
    const w = world();
    w.client.on("state", (now) => now.state === state && w.client.close());
    w.socket.accept().drop();
    await w.clock.advance(60000);
    assert.equal(w.client.state.state, "closed", state);
    assert.equal(w.clock.pending, 0, state);
    assert.ok(w.sockets.every((socket) => socket.readyState > 1), state);
  }
});

test("errors: nobody listens, so they go to the console; a failing listener does too", (t) => {
  const said = t.mock.method(console, "error", () => {});
  const WebSocket = class { close() {} };
  const client = connect("ws://h/ws", { WebSocket });
  client.on("state", () => { throw new Error("first"); });
  client.close();
  assert.equal(said.mock.calls[0].arguments[0].code, "listener");
  assert.ok(said.mock.calls[0].arguments[0] instanceof RingcastError);
});

test("errors: an error listener that fails does not hear of itself", (t) => {
  const said = t.mock.method(console, "error", () => {});
  const w = world();
  w.client.on("error", () => { throw new Error("again"); });
  w.socket.accept().onmessage({ data: "no json" });
  assert.equal(w.errors.length, 1);
  assert.equal(said.mock.calls[0].arguments[0].message, "again");
});

test("messages that are none are told and left out", () => {
  const w = world();
  w.socket.accept();
  for (const data of ["", "[]", "null", "{", '{"type":"error"}', "7", new ArrayBuffer(3)]) {
    w.socket.onmessage({ data });
  }
  w.socket.deliver({ type: "something new" });
  assert.equal(w.client.state.state, "connected");
  assert.ok(w.errors.length >= 5);
  for (const { code } of w.errors) assert.equal(code, "bad_message");
});

test("errors of the server that answer nothing of ours are told", () => {
  const w = world();
  w.socket.accept();
  w.socket.deliver({ type: "error", id: "x", topic: "t",
    payload: { code: "new_one", message: "m" } });
  const [error] = w.errors;
  assert.deepEqual([error.code, error.message, error.topic, error.id], ["new_one", "m", "t", "x"]);
});

test("an address that the browser refuses ends it", () => {
  const WebSocket = class { constructor() { throw new Error("mixed content"); } };
  const client = connect("ws://h/ws", { WebSocket });
  assert.equal(client.state.state, "closed");
  assert.match(client.state.reason, /mixed content/);
});
