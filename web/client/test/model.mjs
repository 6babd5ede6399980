// A plain model of the server, with a network that loses connections. It keeps everything that was
// ever published, so that what clients were told can be held against it.

export function randomOf(seed) { // mulberry32
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const matches = (pattern, name) => pattern.endsWith(".*")
  && name.startsWith(pattern.slice(0, -1)) && !name.slice(pattern.length - 1).includes(".");

// One TCP connection: each direction keeps its order, and may end without the other knowing.
class Link {
  constructor(model, socket) {
    Object.assign(this, { model, socket, up: true, down: true, times: {} });
  }

  /** Runs `action` when what is sent now arrives, unless the direction is cut by then. */
  carry(direction, action) {
    const { clock, random } = this.model;
    this.times[direction] = Math.max(this.times[direction] ?? 0, clock.now + random() * 40);
    clock.surroundings().later(
      () => this[direction] && action(), this.times[direction] - clock.now);
  }

  close(code, reason) {
    this.carry("down", () => {
      this.up = this.down = false;
      this.socket.readyState = 3;
      this.socket.onclose({ code, reason });
    });
  }
}

export class Model {
  topics = new Map();
  archive = []; // {topic, epoch, offset, payload}: all that was ever published
  connections = new Set();
  links = new Set();
  faults = true;
  #dedup = new Map();
  #count = 0;

  constructor(clock, random) {
    Object.assign(this, { clock, random });
    const model = this;
    this.WebSocket = class {
      readyState = 0;
      bufferedAmount = 0;
      constructor(url) {
        model.#dialled(this, new URL(url));
      }
      send(text) {
        const { link } = this;
        const { connection } = link;
        link.carry("up", () => link.connection && model.#received(connection, JSON.parse(text)));
      }
      close() {
        this.readyState = 3;
        this.link.down = false;
        this.link.carry("up", () => model.#gone(this.link));
      }
    };
  }

  chance(probability) {
    return this.faults && this.random() < probability;
  }

  pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  topic(name) {
    let topic = this.topics.get(name);
    if (!topic) {
      topic = { name, keyed: name.startsWith("k") };
      this.#forget(topic);
      this.topics.set(name, topic);
      for (const connection of this.connections) {
        for (const pattern of connection.patterns) this.#bring(connection, pattern, topic);
      }
    }
    return topic;
  }

  // --- What may happen to it ---

  /** A connection ends: both sides learn of it, or one, or nobody. */
  cut() {
    const link = this.pick([...this.links]);
    if (!link) return;
    this.links.delete(link);
    const how = this.random();
    if (how < 0.2) {
      link.up = link.down = false; // a black hole
    } else if (how < 0.5) {
      link.up = false; // what was under way does not arrive, what comes down still does
      link.close(1006, "");
    } else {
      link.connection && this.connections.delete(link.connection);
      link.close(this.pick([1006, 1000, 4008, 1011]), "");
    }
  }

  /** The memory is gone: new epochs, no ids known. */
  restart() {
    for (const link of this.links) {
      link.close(1012, this.random() < 0.5 ? '{"retry_ms":50}' : "");
      link.connection = undefined;
    }
    this.links.clear();
    this.connections.clear();
    this.#dedup.clear();
    for (const topic of this.topics.values()) this.#forget(topic);
  }

  /** Old records are dropped; of keyed topics the latest of each key stays. */
  trim() {
    const topic = this.pick([...this.topics.values()]);
    if (topic) topic.first = Math.max(topic.first, topic.head - Math.floor(this.random() * 4));
  }

  // --- Connections ---

  #dialled(socket, url) {
    const link = socket.link = new Link(this, socket);
    if (this.chance(0.1)) return this.chance(0.5) ? undefined : link.close(1006, ""); // or it hangs
    this.links.add(link);
    link.carry("down", () => {
      socket.readyState = 1;
      socket.onopen({});
    });
    const id = url.searchParams.get("client_id") ?? `c${++this.#count}`;
    for (const older of this.connections) {
      if (older.id !== id) continue;
      this.connections.delete(older);
      older.link.close(4501, "replaced");
    }
    const connection = link.connection = { id, link, cursors: new Map(), patterns: new Set() };
    this.connections.add(connection);
    this.#send(connection, { type: "welcome", id: "welcome", payload: { client_id: id,
      ping_interval_s: 5, limits: { messages_per_second: this.pick([0, 200]) } } });
  }

  #gone(link) {
    this.links.delete(link);
    if (link.connection) this.connections.delete(link.connection);
  }

  #send(connection, envelope) {
    const data = JSON.stringify({ id: "", timestamp: this.clock.now / 1000, ...envelope });
    connection.link.carry("down", () => connection.link.socket.onmessage({ data }));
  }

  #received(connection, envelope) {
    if (!this.connections.has(connection)) return;
    const { type, id, topic: name } = envelope;
    const answer = (members) => this.#send(connection, { id, topic: name, ...members });
    const refuse = (code) => answer({ type: "error", payload: { code, message: "" } });
    if (type === "ping") return answer({ type: "pong" });
    if (type === "ack") return undefined;
    if (this.chance(0.05)) return refuse(this.pick(["busy", "rate_limited"]));
    if (type === "publish") return this.#published(connection, envelope, answer, refuse);
    if (type === "history") return answer({ type: "history", payload: this.#history(envelope) });
    if (type === "unsubscribe") {
      connection.cursors.delete(name);
      connection.patterns.delete(name);
      for (const [other, { by }] of connection.cursors) {
        if (by === name) connection.cursors.delete(other);
      }
      return answer({ type: "unsubscribed" });
    }
    if (type !== "subscribe") throw new Error(`the client sent ${type}`);
    if (name.endsWith("*")) {
      answer({ type: "subscribed", payload: { pattern: true } });
      connection.patterns.add(name);
      for (const topic of this.topics.values()) this.#bring(connection, name, topic);
      return undefined;
    }
    if (connection.cursors.has(name)) return refuse("already_subscribed");
    return this.#start(connection, this.topic(name), id, envelope.payload ?? {});
  }

  // --- Subscriptions ---

  #bring(connection, pattern, topic) {
    if (!matches(pattern, topic.name) || connection.cursors.has(topic.name)) return;
    this.#start(connection, topic, "", {}, pattern);
  }

  #start(connection, topic, id, { offset, epoch, snapshot = false }, by) {
    const { head } = topic;
    const same = epoch === topic.epoch;
    const recovered = same && offset >= topic.first - 1;
    const whole = topic.keyed && snapshot && !recovered;
    const cursor = { topic, by, at: recovered ? offset : whole ? 0 : head };
    connection.cursors.set(topic.name, cursor);
    const keyed = topic.keyed ? { keyed: true, snapshot: whole, head } : {};
    const tell = (type, payload) =>
      this.#send(connection, { type, id, topic: topic.name, payload });
    tell("subscribed", { offset: cursor.at, epoch: topic.epoch, recovered, pattern: by, ...keyed });
    if (epoch !== undefined && !recovered && !whole) {
      const from = same ? offset + 1 : 1;
      tell("gap", { from, to: head, reason: same ? "history" : "new_epoch", next: head + 1 });
    }
    this.#pump(connection, cursor);
  }

  #pump(connection, cursor) {
    const { topic } = cursor;
    if (connection.cursors.get(topic.name) !== cursor) return;
    const gap = (to) => {
      this.#send(connection, { type: "gap", topic: topic.name,
        payload: { from: cursor.at + 1, to, reason: "slow_consumer", next: to + 1 } });
      cursor.at = to;
    };
    if (!topic.keyed && cursor.at + 1 < topic.first) gap(topic.first - 1);
    if (!topic.keyed && this.chance(0.05) && cursor.at < topic.head) gap(topic.head);
    while (cursor.at < topic.head) {
      cursor.at += 1;
      const record = topic.records.get(cursor.at);
      const superseded = topic.keyed && topic.latest.get(record.key) !== record;
      if (superseded && (cursor.at < topic.first || this.chance(0.5))) continue;
      const { key, payload, offset, id } = record;
      const update = { type: "data_update", id, topic: topic.name, offset, key, payload,
        ack_required: this.chance(0.3) || undefined };
      do this.#send(connection, update); while (this.chance(0.1)); // now and then twice
    }
  }

  // --- Publishing ---

  #forget(topic) {
    const epoch = `${topic.name}-${++this.#count}`;
    Object.assign(topic, { epoch, head: 0, first: 1, records: new Map(), latest: new Map() });
  }

  #published({ id: client }, { id, topic: name, key, payload, ack_required }, answer, refuse) {
    const topic = this.topic(name);
    const known = `${client} ${name} ${id}`;
    let place = this.#dedup.get(known);
    if (!place && topic.keyed && key === undefined) return refuse("missing_key");
    if (!place) {
      topic.head += 1;
      const record = { offset: topic.head, key, payload, id };
      topic.records.set(topic.head, record);
      topic.latest.set(key, record);
      place = { offset: topic.head, epoch: topic.epoch };
      this.archive.push({ topic: name, ...place, payload });
      this.#dedup.set(known, place);
      for (const connection of this.connections) {
        const cursor = connection.cursors.get(name);
        if (cursor) this.clock.surroundings().later(() => this.#pump(connection, cursor),
          this.random() * 100);
      }
    }
    if (!ack_required || this.chance(0.1)) return undefined; // the answer never comes
    do answer({ type: "ack", payload: place }); while (this.chance(0.1));
    return undefined;
  }

  #history({ topic: name, payload: { from = 1, limit = 10 } }) {
    const topic = this.topic(name);
    const begin = Math.max(from, topic.first);
    const records = [];
    for (let offset = begin; offset <= topic.head && records.length < limit; offset += 1) {
      const { id, payload, key } = topic.records.get(offset);
      records.push({ type: "data_update", id, timestamp: 0, topic: name, offset, key, payload });
    }
    return { epoch: topic.epoch, first: topic.first, next: topic.head + 1, records,
      more: begin + records.length <= topic.head };
  }
}
