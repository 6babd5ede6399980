// node --test web/*.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { Window, bytes, count, percent } from "./figures.js";
import { Link, backoff_ms, is_final, told_delay_ms } from "./link.js";

// A world in which sockets are values and time passes when the test says so.
function world() {
  const sockets = [];
  const w = { time: 0, timers: new Map(), next_timer: 1, sockets, states: [], round_trips: [] };
  class FakeSocket {
    constructor() { this.readyState = 0; this.sent = []; sockets.push(this); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() { this.closed = true; }
    accept() {
      this.readyState = 1;
      this.onopen({});
      this.deliver({ type: "welcome", payload: {} });
    }
    deliver(envelope) { this.onmessage({ data: JSON.stringify(envelope) }); }
    drop(code = 1006, reason = "") { this.readyState = 3; this.onclose({ code, reason }); }
  }
  w.link = new Link("ws://test/ws", {
    on_state: (...state) => w.states.push(state),
    on_round_trip: (ms) => w.round_trips.push(ms),
    WebSocket: FakeSocket,
    random: () => 0.5,
    now: () => w.time,
    later: (action, ms) => {
      w.timers.set(w.next_timer, { at: w.time + ms, action });
      return w.next_timer++;
    },
    cancel: (timer) => w.timers.delete(timer),
  });
  w.advance = (ms) => {
    const end = w.time + ms;
    for (;;) {
      const due = [...w.timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      w.timers.delete(due[0]);
      w.time = due[1].at;
      due[1].action();
    }
    w.time = end;
  };
  w.socket = () => sockets[sockets.length - 1];
  return w;
}

const subscribed = (epoch, offset) =>
  ({ type: "subscribed", topic: "t", payload: { epoch, offset, recovered: false } });
const subscribes = (socket) => socket.sent.filter((m) => m.type === "subscribe");

test("backoff: spreads over the whole interval, grows, and has a ceiling", () => {
  assert.equal(backoff_ms(0, () => 0), 300);
  assert.equal(backoff_ms(0, () => 1), 600);
  assert.equal(backoff_ms(3, () => 1), 300 + 2400);
  for (const attempt of [6, 20, 2000]) assert.equal(backoff_ms(attempt, () => 1), 15000);
});

test("close codes: only 3500-3999 and 4500-4999 are final", () => {
  const final = [3500, 3999, 4500, 4999];
  for (const code of [1000, 1006, 1012, 3499, 4000, 4499, 5000, ...final]) {
    assert.equal(is_final(code), final.includes(code), String(code));
  }
});

test("a told delay is taken from the reason, whatever the reason is", () => {
  assert.equal(told_delay_ms('{"retry_ms":1234}'), 1234);
  assert.equal(told_delay_ms('{"retry_ms":1e12}'), 60000);
  for (const reason of ["", "bye", "{}", "null", '{"retry_ms":-1}', '{"retry_ms":"x"}']) {
    assert.equal(told_delay_ms(reason), undefined);
  }
});

test("link: subscribes when connected, and again with its place after a loss", () => {
  const w = world();
  const got = [];
  const gaps = [];
  w.link.subscribe("t", (payload) => got.push(payload), (text) => gaps.push(text));
  w.link.open();
  w.socket().accept();
  assert.deepEqual(subscribes(w.socket()).map((m) => m.payload), [undefined]);
  w.socket().deliver(subscribed("e", 7));
  w.socket().deliver({ type: "data_update", topic: "t", offset: 8, payload: "x" });
  assert.deepEqual(got, ["x"]);
  assert.deepEqual(gaps, []); // the first time there is nothing to recover

  w.socket().drop();
  assert.deepEqual(w.states.at(-1), ["waiting", 450]);
  w.advance(450);
  w.socket().accept();
  assert.deepEqual(subscribes(w.socket())[0].payload, { epoch: "e", offset: 8 });
  w.socket().deliver(subscribed("f", 1));
  assert.equal(gaps.length, 1);
});

test("link: waits longer after each failure, and starts over after a welcome", () => {
  const w = world();
  w.link.open();
  const waits = [];
  for (let i = 0; i < 3; i += 1) {
    w.socket().drop();
    waits.push(w.states.at(-1)[1]);
    w.advance(waits.at(-1));
  }
  assert.deepEqual(waits, [450, 600, 900]);
  w.socket().accept();
  w.socket().drop(1012, '{"retry_ms":5}');
  assert.deepEqual(w.states.at(-1), ["waiting", 5]);
});

test("link: a final close code ends it", () => {
  const w = world();
  w.link.open();
  w.socket().accept();
  w.socket().drop(4501, "replaced");
  assert.deepEqual(w.states.at(-1), ["closed", "replaced"]);
  w.advance(100000);
  assert.equal(w.sockets.length, 1);
  assert.equal(w.link.publish("t", 1), false);
});

test("link: measures round trips, and leaves a silent server", () => {
  const w = world();
  w.link.open();
  w.socket().accept();
  const first = w.socket();
  w.time += 3;
  first.deliver({ type: "pong" });
  assert.deepEqual(w.round_trips, [3]);
  w.advance(9000);
  assert.equal(first.closed, undefined);
  w.advance(3000);
  assert.equal(first.closed, true);
  assert.equal(w.states.at(-1)[0], "waiting");
  w.advance(1000);
  assert.equal(w.states.at(-1)[0], "connecting");
  first.onclose({ code: 1006, reason: "" }); // the old socket's last word changes nothing
  assert.equal(w.states.at(-1)[0], "connecting");
});

test("link: a handshake that hangs is given up", () => {
  const w = world();
  w.link.open();
  w.advance(10000);
  assert.deepEqual(w.states.map(([state]) => state), ["connecting", "waiting"]);
  assert.equal(w.sockets[0].closed, true);
});

test("link: tells of a gap, and ignores what it does not know", () => {
  const w = world();
  const gaps = [];
  w.link.subscribe("t", () => assert.fail(), (text) => gaps.push(text));
  w.link.open();
  w.socket().accept();
  w.socket().deliver({ type: "gap", topic: "t", payload: { from: 3, to: 9 } });
  w.socket().deliver({ type: "gap", topic: "other", payload: { from: 3, to: 9 } });
  w.socket().deliver({ type: "data_update", topic: "other", offset: 1, payload: 1 });
  w.socket().deliver({ type: "something new" });
  assert.deepEqual(gaps, ["messages 3 to 9 were missed"]);
});

test("window: holds the last seconds, and starts over when the clock goes back", () => {
  const w = new Window(10, 2);
  for (let t = 0; t < 30; t += 1) w.push(t, [t, -t]);
  assert.deepEqual(w.columns[0], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  assert.equal(w.columns[2].length, 10);
  w.push(5, [1, 2]);
  assert.deepEqual(w.columns, [[5], [1], [2]]);
});

test("figures read well", () => {
  assert.deepEqual([0, 1023, 1024, 150 * 1024, 2 ** 40].map(bytes),
    ["0 B", "1023 B", "1.0 KiB", "150 KiB", "1.0 TiB"]);
  assert.deepEqual([0, 9999, 12345, 2.5e6].map(count), ["0", "9999", "12.3 k", "2.5 M"]);
  assert.equal(percent(0.256), "26 %");
});
