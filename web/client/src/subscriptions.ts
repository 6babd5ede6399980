// All subscriptions of a client and the topics they brought: subscribes when a connection is there,
// again after each loss, and gives to each topic what is its own.

import type { Connection } from "./connection.js";
import { RingcastError } from "./errors.js";
import type { Surroundings } from "./surroundings.js";
import { Subscription } from "./subscription.js";
import type { SubscribeOptions } from "./subscription.js";
import { Topic } from "./topic.js";
import { backoffMs, errorOf, isPassing } from "./wire.js";
import type { Envelope } from "./wire.js";

type Report = (error: RingcastError, subscriptions: Iterable<Subscription<any>>) => void;

// A `subscribe` without its answer, or what came of it, on the present connection.
interface Asked {
  id: string;
  refused: number;
  done: boolean; // the server has it under this name
}

export class Subscriptions {
  #subscriptions = new Map<string, Subscription<any>>();
  #topics = new Map<string, Topic>();
  #asked = new Map<string, Asked>(); // by topic or pattern
  #jumped = new Set<Topic>();        // and had no good record since
  #retries = new Set<unknown>();

  constructor(
    private readonly surroundings_: Surroundings,
    private readonly connection_: Connection,
    private readonly newId_: () => string,
    private readonly report_: Report,
  ) {}

  add_<T>(filter: string, options: SubscribeOptions): Subscription<T> {
    if (this.#subscriptions.has(filter)) {
      throw new RingcastError("already_subscribed", `there is a subscription of ${filter}`,
        { topic: filter });
    }
    const subscription: Subscription<T> = new Subscription<T>(
      filter, options, (error) => this.report_(error, [subscription]),
      () => this.#remove(subscription));
    this.#subscriptions.set(filter, subscription);
    for (const topic of this.#topics.values()) this.#attach(topic, subscription);
    if (!subscription.isPattern_ && !this.#topics.has(filter)) this.#newTopic(filter);
    this.#ask(filter);
    return subscription;
  }

  /** First the topics by name, with what is known of them; then the patterns, which bring the
   *  others. */
  connected_(): void {
    const patterns = [];
    for (const { filter, isPattern_ } of this.#subscriptions.values()) {
      if (isPattern_) patterns.push(filter);
      else this.#ask(filter);
    }
    const limit = this.connection_.limits_.topics ?? Infinity;
    for (const name of this.#topics.keys()) {
      if (this.#asked.size + patterns.length >= limit) break; // their gap will be told
      if (!this.#asked.has(name)) this.#ask(name);
    }
    for (const pattern of patterns) this.#ask(pattern);
  }

  lost_(): void {
    this.#asked.clear();
    for (const timer of this.#retries) this.surroundings_.cancel(timer);
    this.#retries.clear();
    for (const topic of this.#topics.values()) topic.lost_();
  }

  close_(error?: RingcastError): void {
    this.lost_();
    for (const subscription of this.#subscriptions.values()) subscription.end_(error);
    this.#subscriptions.clear();
    this.#topics.clear();
  }

  /** False if it is not about a subscription. */
  received_(envelope: Envelope): boolean {
    const topic = this.#topics.get(envelope.topic!);
    switch (envelope.type) {
      case "subscribed":
        this.#subscribed(envelope);
        return true;
      case "unsubscribed":
        return true;
      case "data_update":
        if (topic) {
          topic.record_(envelope);
          if (topic.live_) this.#jumped.delete(topic);
        }
        return true;
      case "gap":
        topic?.gap_(envelope.payload);
        return true;
      default:
        return envelope.type === "error" && this.#refused(envelope);
    }
  }

  #newTopic(name: string): Topic {
    const topic: Topic = new Topic(
      name,
      (event, value) => {
        const all = [...this.#subscriptions.values()].filter(({ topics_ }) => topics_.has(name));
        if (value instanceof RingcastError) this.report_(value, all);
        return all.flatMap((one) => event === "error" ? [] : one.emit_(event, value));
      },
      (envelope) => this.connection_.send_(envelope),
      () => this.#resubscribe(topic),
      this.#subscriptions.get(name)?.options_.since);
    this.#topics.set(name, topic);
    for (const subscription of this.#subscriptions.values()) this.#attach(topic, subscription);
    return topic;
  }

  #attach(topic: Topic, subscription: Subscription<any>): void {
    if (!subscription.matches_(topic.name)) return;
    subscription.topics_.set(topic.name, topic);
    if (subscription.options_.state) topic.state ??= new Map();
  }

  #remove(subscription: Subscription<any>): void {
    const { filter, isPattern_, topics_ } = subscription;
    this.#subscriptions.delete(filter);
    subscription.end_();
    // The pattern first, or it would bring back its topics.
    if (isPattern_) this.#leave(filter);
    for (const [name, topic] of topics_) {
      if (![...this.#subscriptions.values()].some((other) => other.topics_.has(name))) {
        this.#topics.delete(name);
        this.#jumped.delete(topic);
        this.#leave(name);
      } else if (isPattern_ && !this.#asked.get(name)?.done) {
        // What is left of it may have come by this pattern only.
        topic.lost_();
        this.#ask(name);
      }
    }
  }

  #leave(name: string): void {
    if (this.#asked.delete(name)) this.#send("unsubscribe", name);
  }

  #ask(name: string, refused = 0): void {
    if (!this.connection_.ready_) return;
    const subscription = this.#subscriptions.get(name)
      ?? [...this.#subscriptions.values()].find(({ topics_ }) => topics_.has(name));
    const options = subscription!.options_;
    const payload = {
      ...this.#topics.get(name)?.position,
      snapshot: options.snapshot ?? options.state,
      max_rate: options.maxRate,
    };
    const isEmpty = Object.values(payload).every((value) => value === undefined);
    const id = this.#send("subscribe", name, isEmpty ? undefined : payload);
    this.#asked.set(name, { id, refused, done: false });
  }

  #send(type: string, topic: string, payload?: object): string {
    const id = this.newId_();
    this.connection_.send_({ type, id, topic, payload });
    return id;
  }

  #subscribed({ id, topic: name, payload }: Envelope): void {
    const asked = this.#asked.get(name!);
    const isAnswer = asked !== undefined && asked.id === id;
    if (isAnswer) asked.done = true;
    if (payload.pattern === true) return;
    if (isAnswer && this.#subscriptions.get(name!)?.isPattern_) {
      this.report_(new RingcastError("no_wildcards", `${name} is no pattern for this server`,
        { topic: name }), [this.#subscriptions.get(name!)!]);
      return;
    }
    const brought = payload.pattern !== undefined && this.#subscriptions.has(payload.pattern);
    if (!isAnswer && !brought) return; // of what has been left meanwhile
    const topic = this.#topics.get(name!) ?? this.#newTopic(name!);
    // One that came by name and by a pattern is one subscription, which goes on.
    if (isAnswer || !topic.live_) topic.subscribed_(payload);
  }

  #refused(envelope: Envelope): boolean {
    const entry = [...this.#asked].find(([, { id }]) => id === envelope.id);
    if (!entry) return false;
    const [name, { refused }] = entry;
    const topic = this.#topics.get(name);
    if (isPassing(envelope)) {
      const timer = this.surroundings_.later(() => {
        this.#retries.delete(timer);
        if (this.#asked.get(name) === entry[1]) this.#ask(name, refused + 1);
      }, backoffMs(refused + 1, this.surroundings_.random));
      this.#retries.add(timer);
      return true;
    }
    const subscription = this.#subscriptions.get(name);
    if (topic?.live_) return true; // already there, by a pattern
    // A topic known by a pattern alone will be brought by it, and then its gap is told.
    if (subscription) this.report_(errorOf(envelope), [subscription]);
    return true;
  }

  // Offsets jumped: a fault of the server. Once it is asked again, then this connection is given
  // up.
  #resubscribe(topic: Topic): void {
    if (this.#jumped.has(topic) || !this.#asked.get(topic.name)?.done) {
      this.connection_.drop_();
      return;
    }
    this.#jumped.add(topic);
    this.#leave(topic.name);
    this.#ask(topic.name);
  }
}
