// A subscription as its owner sees it: one topic, or all whose name matches a pattern.

import { MessageBuffer } from "./buffer.js";
import { Emitter } from "./emitter.js";
import type { Outcome } from "./emitter.js";
import { RingcastError } from "./errors.js";
import type { SubscriptionEvents, Topic, TopicView } from "./topic.js";
import { isPattern, matcherOf } from "./wire.js";
import type { Message, Position } from "./wire.js";

export interface SubscribeOptions {
  /** Where to go on: a position kept from an earlier life of the page. For one topic, and
   *  without `state`, which cannot go on from what is gone. */
  since?: Position;
  /** Of keyed topics: keep the latest payload of each key in `state`. Asks for a snapshot. If
   *  another subscription has the topic already, `state` is complete only if that one asked too. */
  state?: boolean;
  /** Of keyed topics: first the latest record of each key. With `state` true unless told. */
  snapshot?: boolean;
  /** Of keyed topics: at most so many batches a second, each with the latest of what changed. */
  maxRate?: number;
  /** Acknowledge records whose publishers want that (`ack_required`), once the listeners are done
   *  with them; until then they come again. Not for keyed topics. */
  acks?: boolean;
  /** How many records a `for await` loop may be behind: 1000 unless told. */
  bufferMax?: number;
}

/** Made by `client.subscribe`. Lasts over lost connections, until `unsubscribe` or the client's
 *  end. */
export class Subscription<T = unknown> extends Emitter<SubscriptionEvents<T>> {
  /** @internal */
  readonly topics_ = new Map<string, Topic>();
  /** @internal */
  readonly matches_: (topic: string) => boolean;
  /** @internal */
  readonly isPattern_: boolean;
  #buffers = new Set<MessageBuffer<T>>();
  #end: { error: RingcastError | undefined } | undefined;

  /** @internal */
  constructor(
    /** As it was given to `subscribe`: a topic or a pattern. */
    readonly filter: string,
    /** @internal */
    readonly options_: SubscribeOptions,
    private readonly report_: (error: RingcastError) => void,
    private readonly leave_: () => void,
  ) {
    super();
    if (options_.since && (isPattern(filter) || options_.state)) {
      throw new TypeError("since is for one topic, and without state");
    }
    this.matches_ = matcherOf(filter);
    this.isPattern_ = isPattern(filter);
  }

  /** The topics it has so far, by name: of a pattern each that had a record or was there. */
  get topics(): ReadonlyMap<string, TopicView> {
    return this.topics_;
  }

  /** Up to where its one topic has been received; undefined before the server answered. To be kept
   *  and given as `since` to go on there later. For patterns: see `topics`. */
  get position(): Position | undefined {
    return this.topics_.get(this.filter)?.position;
  }

  /** With the option `state`: the latest payload of each key of its one topic. Always the same Map;
   *  it changes in one step when a snapshot is complete, else record by record, each before its
   *  listener is called. For patterns: see `topics`. */
  get state(): ReadonlyMap<string, T> | undefined {
    return this.topics_.get(this.filter)?.state as ReadonlyMap<string, T> | undefined;
  }

  /** Ends it: no event comes after this. Loops end when they have what is in their buffer. */
  unsubscribe(): void {
    if (!this.#end) this.leave_();
  }

  /** The records from now on, for `for await`. A loop too slow for them loses the oldest of more
   *  than `bufferMax` and is told by a `gap` event with the reason `overflow`. When the client is
   *  closed by the server, the loop throws. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message<T>> {
    const off = this.on("message", (message) => buffer.push_(message));
    const buffer = new MessageBuffer<T>(
      this.options_.bufferMax ?? 1000,
      ({ topic, epoch, offset }) =>
        this.emit_("gap", { topic, epoch, from: offset, to: offset, reason: "overflow" }),
      () => {
        off();
        this.#buffers.delete(buffer);
      });
    if (this.#end) buffer.end_(this.#end.error);
    else this.#buffers.add(buffer);
    return buffer;
  }

  /** @internal */
  override emit_<Name extends keyof SubscriptionEvents<T>>(
    name: Name, event: SubscriptionEvents<T>[Name],
  ): Outcome[] {
    return this.#end ? [] : super.emit_(name, event);
  }

  /** @internal */
  end_(error?: RingcastError): void {
    this.#end ??= { error };
    for (const buffer of this.#buffers) buffer.end_(error);
  }

  /** @internal */
  failed_(cause: unknown): void {
    this.report_(new RingcastError("listener", `a listener of ${this.filter} failed`, { cause }));
  }
}
