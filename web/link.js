// A connection to /ws that mends itself: it comes back with full jitter, subscribes again, asks for
// what it missed, and says so when that is not to be had. Sends are dropped while it is down; a
// queue of stale messages helps nobody here. The protocol: docs/PROTOCOL.md.
//
// Everything it takes from its surroundings (WebSocket, timers, chance) can be handed in, so the
// tests run it without network or waiting.

const ping_every_ms = 2000;
const silence_max_ms = 10000;

// Full jitter: spread over the whole interval, so that the clients of a restarted server do not all
// come back at once.
export function backoff_ms(attempt, random = Math.random, min = 300, max = 15000) {
  return min + random() * Math.min(max - min, min * 2 ** attempt);
}

// 3500-3999 and 4500-4999 say: do not come back.
export function is_final(code) {
  return (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
}

// A restarting server may say in the close reason when to come back: {"retry_ms": 1234}.
export function told_delay_ms(reason) {
  try {
    const retry_ms = JSON.parse(reason).retry_ms;
    return Number.isFinite(retry_ms) && retry_ms >= 0 ? Math.min(retry_ms, 60000) : undefined;
  } catch {
    return undefined;
  }
}

export class Link {
  // on_state(state, detail): "connecting", "connected", "waiting" (detail: ms until the next
  // attempt) or "closed" (detail: the server's reason). on_round_trip(ms).
  constructor(url, { on_state = () => {}, on_round_trip = () => {}, ...surroundings } = {}) {
    this.url = url;
    this.on_state = on_state;
    this.on_round_trip = on_round_trip;
    this.surroundings = {
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      now: () => performance.now(),
      later: (action, ms) => setTimeout(action, ms),
      cancel: (timer) => clearTimeout(timer),
      ...surroundings,
    };
    this.topics = new Map(); // name -> {on_message, on_gap, epoch, offset}
    this.attempt = 0;
    this.next_id = 0;
    this.socket = null;
    this.timer = null;
  }

  // on_message(payload, envelope); on_gap(text) when something was or may have been missed.
  subscribe(topic, on_message, on_gap = () => {}) {
    this.topics.set(topic, { on_message, on_gap, epoch: undefined, offset: undefined });
    this.#send({ type: "subscribe", topic });
  }

  // False when there is no connection to send it on.
  publish(topic, payload) {
    return this.#send({ type: "publish", topic, payload });
  }

  open() {
    this.on_state("connecting");
    const socket = new this.surroundings.WebSocket(this.url);
    this.socket = socket;
    this.heard_at = this.surroundings.now();
    const mine = (action) => (event) => { if (this.socket === socket) action(event); };
    socket.onopen = mine(() => this.#opened());
    socket.onmessage = mine((event) => this.#received(JSON.parse(event.data)));
    socket.onclose = mine((event) => this.#lost(event.code, event.reason));
    this.#in_ms(silence_max_ms, () => this.#watch());
  }

  // --- One connection ---

  #opened() {
    this.on_state("connected");
    for (const [topic, { epoch, offset }] of this.topics) {
      const payload = epoch === undefined ? undefined : { epoch, offset };
      this.#send({ type: "subscribe", topic, payload });
    }
    this.heard_at = this.surroundings.now();
    this.#watch();
  }

  #received(envelope) {
    this.heard_at = this.surroundings.now();
    const topic = this.topics.get(envelope.topic);
    switch (envelope.type) {
      case "welcome":
        this.attempt = 0; // only now: a server that accepts and drops must not be hammered
        break;
      case "pong":
        this.on_round_trip(this.heard_at - this.pinged_at);
        break;
      case "subscribed":
        if (!topic) break;
        if (topic.epoch !== undefined && !envelope.payload.recovered) {
          topic.on_gap("messages may be missing: the server no longer has them");
        }
        topic.epoch = envelope.payload.epoch;
        topic.offset = envelope.payload.offset;
        break;
      case "data_update":
        if (!topic) break;
        topic.offset = envelope.offset;
        topic.on_message(envelope.payload, envelope);
        break;
      case "gap":
        if (!topic) break;
        topic.offset = envelope.payload.next - 1;
        topic.on_gap(`messages ${envelope.payload.from} to ${envelope.payload.to} were missed`);
        break;
    }
  }

  // Browsers neither send nor see protocol pings, so silence is measured with our own.
  #watch() {
    const now = this.surroundings.now();
    if (now - this.heard_at >= silence_max_ms) {
      const silent = this.socket;
      this.#lost(1006, "");
      silent.close();
      return;
    }
    this.pinged_at = now;
    this.#send({ type: "ping" });
    this.#in_ms(ping_every_ms, () => this.#watch());
  }

  #lost(code, reason) {
    this.socket = null;
    this.surroundings.cancel(this.timer);
    if (is_final(code)) {
      this.on_state("closed", reason || `code ${code}`);
      return;
    }
    const wait_ms = told_delay_ms(reason) ?? backoff_ms(this.attempt, this.surroundings.random);
    this.attempt += 1;
    this.on_state("waiting", wait_ms);
    this.#in_ms(wait_ms, () => this.open());
  }

  #send(envelope) {
    if (this.socket?.readyState !== 1) return false;
    this.next_id += 1;
    this.socket.send(JSON.stringify({ id: String(this.next_id), ...envelope }));
    return true;
  }

  #in_ms(ms, action) {
    this.surroundings.cancel(this.timer);
    this.timer = this.surroundings.later(action, ms);
  }
}
