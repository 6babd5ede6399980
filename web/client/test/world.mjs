// A world in which sockets are values and time passes when the test says so.
import { connect } from "../dist/ringcast.js";

/** Lets every promise that can go on do so. */
export const settled = () => new Promise(setImmediate);

export class Clock {
  now = 0;
  #timers = new Map();
  #next = 1;

  surroundings() {
    return {
      now: () => this.now,
      later: (action, ms) => {
        this.#timers.set(this.#next, { at: this.now + Math.max(ms, 0), action });
        return this.#next++;
      },
      cancel: (timer) => this.#timers.delete(timer),
    };
  }

  get pending() {
    return this.#timers.size;
  }

  /** Runs what is due within these milliseconds, in order. */
  async advance(ms) {
    const end = this.now + ms;
    await settled();
    for (;;) {
      let due;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= end && (!due || timer.at < due.at)) due = { id, ...timer };
      }
      if (!due) break;
      this.#timers.delete(due.id);
      this.now = due.at;
      due.action();
      await settled();
    }
    this.now = end;
  }
}

/** A client with a scripted server. `wrap`: what makes its WebSocket class of the scripted one. */
export function world({ wrap = (Socket) => Socket, ...options } = {}) {
  const clock = new Clock();
  const sockets = [];
  class FakeSocket {
    readyState = 0;
    bufferedAmount = 0;
    sent = [];
    closed = false;
    constructor(url, protocol) {
      Object.assign(this, { url, protocol });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.closed = true;
      this.readyState = 2;
    }
    open() {
      this.readyState = 1;
      this.onopen({});
    }
    welcome(payload = {}) {
      this.deliver({ type: "welcome", id: "welcome",
        payload: { client_id: "c1", ping_interval_s: 25, limits: {}, ...payload } });
    }
    accept(payload) {
      this.open();
      this.welcome(payload);
      return this;
    }
    deliver(envelope) {
      this.onmessage({ data: JSON.stringify({ id: "", timestamp: 1, ...envelope }) });
    }
    drop(code = 1006, reason = "") {
      this.readyState = 3;
      this.onclose({ code, reason });
    }
    of(type) {
      return this.sent.filter((envelope) => envelope.type === type);
    }
    /** Answers the newest `subscribe` of a topic. */
    subscribed(topic, payload) {
      const { id } = this.of("subscribe").findLast((envelope) => envelope.topic === topic);
      this.deliver({ type: "subscribed", id, topic, payload: { recovered: false, ...payload } });
    }
    record(topic, offset, members = {}) {
      this.deliver({ type: "data_update", topic, offset, id: `r${offset}`, payload: offset,
        ...members });
    }
  }
  const client = connect("ws://test/ws", {
    WebSocket: wrap(FakeSocket), random: () => 0.5, ...clock.surroundings(), ...options,
  });
  const states = [client.state.state];
  const errors = [];
  client.on("state", (state) => states.push(state));
  client.on("error", (error) => errors.push(error));
  return { client, clock, sockets, states, errors, get socket() { return sockets.at(-1); } };
}

/** The events of a subscription as words, in their order. */
export function logOf(subscription) {
  const log = [];
  subscription.on("message", (m) => log.push(m.key === undefined ? m.payload : [m.key, m.payload]));
  subscription.on("gap", (g) => log.push(`gap ${g.from}-${g.to} ${g.reason}`));
  subscription.on("recovered", (r) => log.push(`recovered ${r.offset}`));
  subscription.on("snapshot", (s) => log.push(`snapshot ${s.offset}`));
  subscription.on("error", (e) => log.push(`error ${e.code}`));
  return log;
}

/** What became of a promise so far. */
export function fateOf(promise) {
  const fate = { state: "pending" };
  promise.then((value) => Object.assign(fate, { state: "resolved", value }),
    (error) => Object.assign(fate, { state: "rejected", error, code: error.code,
      uncertain: error.uncertain }));
  return fate;
}
