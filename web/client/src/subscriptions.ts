// All subscriptions of a client and the topics they brought: subscribes when a connection is there,
// again after each loss, and gives to each topic what is its own.

import type { Connection } from "./connection.js";
import { RingcastError } from "./errors.js";
import type { Surroundings } from "./surroundings.js";
import { Subscription } from "./subscription.js";
import type { SubscribeOptions } from "./subscription.js";
import { Topic } from "./topic.js";
import type { Report } from "./topic.js";
import { backoffMs, errorOf, isPassing } from "./wire.js";
import type { Envelope } from "./wire.js";

// The last thing that was asked of the server about a name, on the present connection.
interface Asked {
  type: "subscribe" | "unsubscribe";
  id: string;
  refused: number; // how often with an error that passes
  done: boolean;   // subscribed under this name
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
    if (!this.#topics.get(filter)?.live_) this.#ask("subscribe", filter); // else by a pattern
    return subscription;
  }

  /** First the topics by name, with what is known of them; then the patterns, which bring the
   *  others. */
  connected_(): void {
    const patterns = [];
    for (const { filter, isPattern_ } of this.#subscriptions.values()) {
      if (isPattern_) patterns.push(filter);
      else this.#ask("subscribe", filter);
    }
    const limit = this.connection_.limits_.topics ?? Infinity;
    for (const name of this.#topics.keys()) {
      if (this.#asked.size + patterns.length >= limit) break; // their gap will be told
      if (!this.#asked.has(name)) this.#ask("subscribe", name);
    }
    for (const pattern of patterns) this.#ask("subscribe", pattern);
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

  /** Anything but answers to requests and errors. */
  received_(envelope: Envelope): void {
    const topic = this.#topics.get(envelope.topic!);
    switch (envelope.type) {
      case "subscribed":
        this.#subscribed(envelope);
        break;
      case "unsubscribed":
        if (this.#asked.get(envelope.topic!)?.id === envelope.id) {
          this.#asked.delete(envelope.topic!);
        }
        break;
      case "data_update":
        topic?.record_(envelope);
        if (topic?.live_) this.#jumped.delete(topic);
        break;
      case "gap":
        topic?.gap_(envelope.payload);
        break;
    }
  }

  /** An error as the answer to something asked here. False if it is not. */
  refuse_(envelope: Envelope): boolean {
    const entry = [...this.#asked].find(([, { id }]) => id === envelope.id);
    if (!entry) return false;
    const [name, asked] = entry;
    // Already there, but not for us: we left it, and the server has not heard.
    const unheard = envelope.payload.code === "already_subscribed";
    if (asked.type === "subscribe" && unheard && this.#topics.get(name)?.live_) {
      return true; // or by a pattern
    }
    if (isPassing(envelope) || unheard) {
      const again = asked.refused + 1;
      const timer = this.surroundings_.later(() => {
        this.#retries.delete(timer);
        if (this.#asked.get(name) !== asked) return;
        if (unheard) this.#ask("unsubscribe", name);
        if (asked.type === "unsubscribe" && this.#isWanted(name)) asked.type = "subscribe";
        else this.#ask(asked.type, name, again);
      }, backoffMs(again, this.surroundings_.random));
      this.#retries.add(timer);
      return true;
    }
    // A topic known by a pattern alone will be brought by it, and then its gap is told.
    const subscription = this.#subscriptions.get(name);
    if (subscription) this.report_(errorOf(envelope), [subscription]);
    return true;
  }

  #newTopic(name: string): Topic {
    const topic: Topic = new Topic(
      name,
      this.report_,
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
    topic.audience_.add(subscription);
    if (subscription.options_.state) topic.state ??= new Map();
    // It joins what has begun: told as soon as its owner could say who is to hear it.
    if (topic.live_) {
      queueMicrotask(() => {
        if (topic.live_) subscription.emit_("subscribed", topic.event_(false));
      });
    }
  }

  #remove(subscription: Subscription<any>): void {
    const { filter, isPattern_, topics_ } = subscription;
    this.#subscriptions.delete(filter);
    subscription.end_();
    // The pattern first, or it would bring back its topics.
    if (isPattern_) this.#leave(filter);
    for (const [name, topic] of topics_) {
      topic.audience_.delete(subscription);
      if (topic.audience_.size === 0) {
        this.#topics.delete(name);
        this.#jumped.delete(topic);
        this.#leave(name);
      } else if (isPattern_ && !this.#asked.get(name)?.done) {
        // What is left of it may have come by this pattern only.
        topic.lost_();
        this.#ask("subscribe", name);
      }
    }
  }

  // A pattern may be there again; the server still has the name, and then it may as well.
  #isWanted(name: string): boolean {
    return [...this.#subscriptions.values()].some(({ matches_ }) => matches_(name));
  }

  #leave(name: string): void {
    if (this.#asked.get(name)?.type === "subscribe") this.#ask("unsubscribe", name);
  }

  #ask(type: Asked["type"], name: string, refused = 0): void {
    if (!this.connection_.ready_) return;
    const id = this.newId_();
    this.connection_.send_(
      { type, id, topic: name, payload: type === "subscribe" ? this.#wish(name) : undefined });
    this.#asked.set(name, { type, id, refused, done: false });
  }

  #wish(name: string): object | undefined {
    const subscription = this.#subscriptions.get(name) // or of a pattern that brought it
      ?? [...this.#subscriptions.values()].find(({ topics_ }) => topics_.has(name));
    const { state, snapshot = state, maxRate, acks } = subscription!.options_;
    const wish = { ...this.#topics.get(name)?.position, snapshot, max_rate: maxRate, acks };
    return Object.values(wish).some((value) => value !== undefined) ? wish : undefined;
  }

  #subscribed({ id, topic: name, payload }: Envelope): void {
    const asked = this.#asked.get(name!);
    const isAnswer = asked !== undefined && asked.id === id;
    if (isAnswer) asked.done = true;
    this.connection_.session_ = payload.session ?? this.connection_.session_;
    if (payload.pattern === true) return;
    if (isAnswer && this.#subscriptions.get(name!)?.isPattern_) {
      this.report_(new RingcastError("no_wildcards", `${name} is no pattern for this server`,
        { topic: name }), [this.#subscriptions.get(name!)!]);
      return;
    }
    const brought = this.#asked.get(payload.pattern)?.done;
    if (!isAnswer && !brought) return; // of what has been left meanwhile, or of its predecessor
    const topic = this.#topics.get(name!) ?? this.#newTopic(name!);
    // One that came by name and by a pattern is one subscription, which goes on.
    if (isAnswer || !topic.live_) topic.subscribed_(payload);
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
    this.#ask("subscribe", topic.name);
  }
}
