// A random walk of clients and a model server whose network loses connections, whose answers get
// lost or come twice, which forgets its history, or everything. Whatever happens: each record comes
// once and in order or its gap is told, and every promise tells the truth.
//
//   WALK_SEED=7 node --test test/walk.test.mjs         one world
//   WALK_WORLDS=2000 node --test test/walk.test.mjs    more than usual
import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../dist/ringcast.js";
import { Model, randomOf } from "./model.mjs";
import { Clock, fateOf, settled } from "./world.mjs";

const worlds = Number(process.env.WALK_WORLDS ?? 60);
const steps = 250;
const calmMs = 200_000; // longer than anything waits

/** Holds what a subscription says against what was published. */
class Oracle {
  places = new Map(); // by topic: {epoch, offset}: all up to there came, or was told to be missing
  messages = 0;
  gaps = 0;

  constructor(subscription, model) {
    this.subscription = subscription;
    subscription.on("subscribed", (event) => this.subscribed(event));
    subscription.on("recovered", (event) => this.subscribed(event));
    subscription.on("gap", (gap) => this.gap(gap));
    subscription.on("message", (message) => this.message(message, model));
  }

  subscribed({ topic, epoch, offset, recovered, keyed }) {
    const place = this.places.get(topic);
    if (recovered && place) assert.deepEqual({ epoch, offset }, place, `recovered ${topic}`);
    // Otherwise what comes next is a gap, or a whole snapshot. Who joined a topic that a pattern
    // had brought, while there was no connection, hears of a gap before its own time, too.
    this.joined = place ? undefined : topic;
    if (!place || (keyed && !recovered)) this.places.set(topic, { epoch, offset });
  }

  gap({ topic, epoch, from, to, reason }) {
    this.gaps += 1;
    const place = this.places.get(topic);
    if (this.joined === topic && to === place.offset) return;
    assert.ok(from <= to || reason === "new_epoch", `${topic} ${reason} ${from} ${to}`);
    if (epoch === place.epoch) assert.equal(from, place.offset + 1, `${topic} ${reason}`);
    else assert.deepEqual([from, reason], [1, "new_epoch"], topic);
    this.places.set(topic, { epoch, offset: to });
  }

  message({ topic, epoch, offset, key, payload }, model) {
    this.messages += 1;
    const place = this.places.get(topic);
    assert.equal(epoch, place.epoch, topic);
    if (key === undefined) assert.equal(offset, place.offset + 1, topic);
    else assert.ok(offset > place.offset, `${topic}: ${offset} after ${place.offset}`);
    place.offset = offset;
    const record = model.archive.find((one) => one.epoch === epoch && one.offset === offset);
    assert.deepEqual([record.topic, record.payload], [topic, payload]);
  }

  /** In the calm everybody has everything. */
  finish(model) {
    for (const [topic, { epoch, offset }] of this.places) {
      const { epoch: present, head } = model.topic(topic);
      assert.deepEqual([epoch, offset], [present, head], topic);
    }
    for (const [name, { keyed, state }] of this.subscription.topics) {
      if (!keyed || !state) continue;
      const latest = [...model.topic(name).latest].map(([key, { payload }]) => [key, payload]);
      const sorted = (entries) => [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
      const present = latest.filter(([, payload]) => payload !== null);
      assert.deepEqual(sorted(state), sorted(present), name);
    }
  }
}

class Walk {
  clock = new Clock();
  published = []; // {n, topic, ack, fate}
  questions = [];
  errors = [];

  constructor(seed) {
    this.random = randomOf(seed);
    this.model = new Model(this.clock, this.random);
    this.clients = [0, 1, 2].map(() => {
      const client = connect("ws://model/ws", { WebSocket: this.model.WebSocket, queueMax: 20,
        random: this.random, ...this.clock.surroundings() });
      client.on("error", (error) => this.errors.push(error));
      return client;
    });
    this.oracles = [
      this.subscribe(this.clients[0], "a"),
      this.subscribe(this.clients[0], "k", { state: true }),
      this.subscribe(this.clients[1], "w.*"),
      this.subscribe(this.clients[1], "w.x"),
      this.loop(this.clients[2], "a"),
    ];
  }

  subscribe(client, filter, options) {
    const listener = () => (this.random() < 0.1 ? settled() : undefined);
    return new Oracle(client.subscribe(filter, listener, options), this.model);
  }

  /** A `for await` loop gets what listeners get. */
  loop(client, filter) {
    const oracle = this.subscribe(client, filter);
    const { subscription } = oracle;
    const told = [];
    subscription.on("message", ({ offset }) => told.push(offset));
    this.looped = { told, got: [] };
    this.looping = (async () => {
      for await (const { offset } of subscription) this.looped.got.push(offset);
    })();
    return oracle;
  }

  step() {
    const what = this.random();
    const client = this.model.pick(this.clients);
    if (what < 0.6) this.publish(client);
    else if (what < 0.63) this.questions.push(fateOf(client.history("a", { from: 1, limit: 5 })));
    else if (what < 0.7) this.model.trim();
    else if (what < 0.75) this.model.cut();
    else if (what < 0.76) this.model.restart();
    else if (what < 0.78) this.change();
  }

  publish(client) {
    const topic = this.model.pick(["a", "a", "k", "w.x", "w.y", "w.z"]);
    const ack = this.random() < 0.7;
    const key = topic === "k" ? this.model.pick(["x", "y", "z"]) : undefined;
    const n = this.published.length;
    const payload = key && this.random() < 0.2 ? null : { n };
    const timeout = this.random() < 0.1 ? 300 : undefined;
    const sent = client.publish(topic, payload, { key, ack, timeout });
    // A deletion has no number in it, so nobody can tell one from another.
    if (payload) this.published.push({ n, topic, ack, fate: fateOf(sent) });
    else sent.catch(() => {});
  }

  /** A subscription ends, and another begins. */
  change() {
    const index = Math.floor(this.random() * 4);
    const { filter } = this.oracles[index].subscription;
    this.oracles[index].subscription.unsubscribe();
    const client = this.clients[index < 2 ? 0 : 1];
    this.oracles[index] = this.subscribe(client, filter, filter === "k" ? { state: true } : {});
  }

  checkTruth() {
    const places = new Map(); // of every n: where it was published
    for (const { payload, ...place } of this.model.archive) {
      if (payload) places.set(payload.n, [...places.get(payload.n) ?? [], place]);
    }
    for (const { n, topic, ack, fate } of this.published) {
      const found = places.get(n) ?? [];
      // Twice only when the server had forgotten the first.
      assert.equal(new Set(found.map(({ epoch }) => epoch)).size, found.length, `${n} twice`);
      assert.notEqual(fate.state, "pending", `${n} has no answer`);
      if (fate.state === "resolved" && ack) {
        assert.ok(found.some((place) => place.topic === topic && place.epoch === fate.value.epoch
          && place.offset === fate.value.offset), `${n} was not published`);
      } else if (fate.state === "rejected" && !fate.uncertain) {
        assert.deepEqual(found, [], `${n} was published: ${fate.code}`);
      }
    }
    for (const { state, value } of this.questions) {
      if (state === "rejected") continue;
      assert.equal(state, "resolved");
      for (const { epoch, offset, payload } of value.records) {
        assert.ok(this.model.archive.some((one) => one.epoch === epoch && one.offset === offset
          && one.payload.n === payload.n));
      }
    }
  }

  async run() {
    for (let i = 0; i < steps; i += 1) {
      this.step();
      await this.clock.advance(this.random() * 200);
    }
    this.model.faults = false;
    await this.clock.advance(calmMs);
    for (const client of this.clients) assert.equal(client.state.state, "connected");
    for (const oracle of this.oracles) oracle.finish(this.model);
    this.checkTruth();
    for (const client of this.clients) client.close();
    await this.looping;
    assert.deepEqual(this.looped.got, this.looped.told);
    for (const error of this.errors) { // a `listener` is an oracle that found something
      if (!["busy", "rate_limited", "queue_full", "timeout"].includes(error.code)) throw error;
    }
    await this.clock.advance(calmMs);
    assert.equal(this.clock.pending, 0, "timers were left behind");
  }
}

test("walk: nothing twice, nothing lost in silence, no promise that lies", async () => {
  const only = process.env.WALK_SEED;
  const seeds = only ? [Number(only)] : Array.from({ length: worlds }, (_, index) => index + 1);
  const total = { messages: 0, gaps: 0, acks: 0, rejections: 0 };
  for (const seed of seeds) {
    const walk = new Walk(seed);
    try {
      await walk.run();
    } catch (error) {
      throw new Error(`WALK_SEED=${seed} fails`, { cause: error });
    }
    for (const { messages, gaps } of walk.oracles) {
      total.messages += messages;
      total.gaps += gaps;
    }
    for (const { ack, fate } of walk.published) {
      total.acks += ack && fate.state === "resolved";
      total.rejections += fate.state === "rejected";
    }
  }
  if (only) return;
  for (const [what, count] of Object.entries(total)) assert.ok(count > worlds, `${what}: ${count}`);
});
