// What is known of one topic: up to which record, in which epoch, and of keyed topics the latest
// value of every key. Here it is decided what is a repeat, what is missing and what is said about
// it.

import type { Outcome } from "./emitter.js";
import { RingcastError } from "./errors.js";
import { messageOf } from "./wire.js";
import type { Envelope, Message, Position } from "./wire.js";

/** Records that do not come (any more). */
export interface Gap {
  topic: string;
  /** In which epoch. */
  epoch: string;
  /** The first and the last offset that is missing. `to` may be `from` - 1: nothing of this epoch,
   *  but the end of the one before may be. */
  from: number;
  to: number;
  /** `slow_consumer`, `restart`, `history` (no longer kept), `new_epoch`; others may come.
   *  `overflow` is the client's own: a `for await` loop was too slow for them, other listeners had
   *  them. */
  reason: string;
}

/** That a subscription began, or began again. */
export interface Subscribed extends Position {
  topic: string;
  /** True after a loss of the connection in which nothing of this topic was lost. */
  recovered: boolean;
  /** Whether the topic keeps the latest record of each key. */
  keyed: boolean;
}

/** That every key of a keyed topic is known. */
export interface Snapshot extends Position {
  topic: string;
  /** The latest payload of each key, if the subscription asked for `state`. */
  state: ReadonlyMap<string, unknown> | undefined;
}

/** Events of a subscription. */
export interface SubscriptionEvents<T = unknown> {
  message: Message<T>;
  gap: Gap;
  subscribed: Subscribed;
  /** The connection was lost and is back, and nothing was missed: what came meanwhile follows. */
  recovered: Subscribed;
  /** A keyed topic has been told in full; from now on come changes. */
  snapshot: Snapshot;
  error: RingcastError;
}

/** Who hears of a topic. @internal */
export interface Audience {
  emit_<Name extends keyof SubscriptionEvents>(
    name: Name, event: SubscriptionEvents[Name]): Outcome[];
}

/** Tells an error, also to those whom it concerns. @internal */
export type Report = (error: RingcastError, audience: Iterable<Audience>) => void;

/** What a `gap` says, as it is on the wire. @internal */
export interface ToldGap {
  from: number;
  to: number;
  next: number;
  reason: string;
}

/** What a subscription shows of each of its topics. */
export interface TopicView {
  readonly name: string;
  /** Undefined before the server has answered. */
  readonly position: Position | undefined;
  readonly keyed: boolean;
  /** The latest payload of each key, if the subscription asked for `state`. Kept up to date. */
  readonly state: ReadonlyMap<string, unknown> | undefined;
}

export class Topic implements TopicView {
  keyed = false;
  state: Map<string, unknown> | undefined;
  /** Subscribed on the present connection. @internal */
  live_ = false;
  /** The subscriptions that have it. @internal */
  readonly audience_ = new Set<Audience>();

  #position: Position | undefined;
  #head = 0;                                // a snapshot is complete with a record from here on
  #fresh: Map<string, unknown> | undefined; // the state of a snapshot that is not complete
  #inSnapshot = false;
  #acks = false;
  #unacked = new Map<number, "running" | "failed">();

  /** @internal */
  constructor(
    readonly name: string,
    private readonly report_: Report,
    private readonly send_: (envelope: Envelope) => void,
    private readonly jumped_: () => void,
    since: Position | undefined,
  ) {
    this.#position = since && { ...since };
  }

  get position(): Position | undefined {
    return this.#position && { ...this.#position };
  }

  /** Where it is. @internal */
  event_(recovered: boolean): Subscribed {
    return { topic: this.name, ...this.#position!, recovered, keyed: this.keyed };
  }

  /** The answer to a `subscribe`. @internal */
  subscribed_(payload: any): void {
    const { epoch, head } = payload as { epoch: string; head?: number };
    const before = this.#position;
    const same = before?.epoch === epoch;
    const snapshot = payload.snapshot === true;
    const nothingMissed = !snapshot && payload.offset === before?.offset;
    const recovered = same && (payload.recovered === true || nothingMissed);
    this.live_ = true;
    this.keyed = payload.keyed === true;
    this.#acks = payload.acks === true;
    if (head !== undefined) this.#head = head;
    if (!same) this.#unacked.clear();
    if (!recovered) {
      // A snapshot begins with the oldest record that is some key's latest.
      this.#position = { epoch, offset: snapshot ? 0 : payload.offset };
      this.#inSnapshot = snapshot;
      this.#fresh = snapshot && this.state ? new Map() : undefined;
    }
    this.#emit("subscribed", this.event_(recovered));
    if (recovered) {
      this.#emit("recovered", this.event_(true));
    } else if (before && !snapshot) {
      const from = same ? before.offset + 1 : 1;
      // What the server says of it in a `gap` is the same, and left out.
      if (!same || from <= payload.offset) {
        this.#tellGap(from, payload.offset, same ? "history" : "new_epoch");
      }
    }
    this.#endSnapshot();
  }

  /** A record of this topic. @internal */
  record_(envelope: Envelope): void {
    const position = this.#position;
    if (!this.live_ || !position) return;
    const offset = envelope.offset!;
    if (offset <= position.offset) {
      this.#repeated(envelope);
      return;
    }
    if (offset > position.offset + 1 && !this.keyed) {
      this.live_ = false; // what follows comes again
      this.report_(new RingcastError("jump",
        `record ${offset} follows ${position.offset} without a gap`, { topic: this.name }),
      this.audience_);
      this.jumped_();
      return;
    }
    position.offset = offset;
    const { key, payload } = envelope;
    const state = this.#fresh ?? this.state;
    if (state && key !== undefined) {
      if (payload === null) state.delete(key);
      else state.set(key, payload);
    }
    this.#deliver(envelope);
    this.#endSnapshot();
  }

  /** The server's word that records do not come. @internal */
  gap_({ from, to, next, reason }: ToldGap): void {
    const position = this.#position;
    if (!this.live_ || !position || next - 1 <= position.offset) return;
    if (this.keyed) { // offsets may jump there, and a snapshot may still bring older ones
      this.#tellGap(from, to, reason);
      return;
    }
    const first = position.offset + 1;
    position.offset = next - 1;
    this.#tellGap(first, next - 1, reason);
  }

  /** The connection is gone. @internal */
  lost_(): void {
    this.live_ = false;
  }

  #emit<Name extends keyof SubscriptionEvents>(
    name: Name, event: SubscriptionEvents[Name],
  ): Outcome[] {
    return [...this.audience_].flatMap((one) => one.emit_(name, event));
  }

  #tellGap(from: number, to: number, reason: string): void {
    this.#emit("gap", { topic: this.name, epoch: this.#position!.epoch, from, to, reason });
  }

  #deliver(envelope: Envelope): void {
    const { epoch } = this.#position!;
    const outcomes = this.#emit("message", messageOf(envelope, epoch));
    if (!this.#acks || !envelope.ack_required) return;
    const offset = envelope.offset!;
    this.#unacked.set(offset, "running");
    void Promise.all(outcomes).then((all) => {
      if (this.#position!.epoch !== epoch) return;
      if (all.includes(false)) {
        this.#unacked.set(offset, "failed");
      } else {
        this.#unacked.delete(offset);
        this.#ack(envelope);
      }
    });
  }

  // The server sends again what was not acknowledged. A listener gets again only what it failed at.
  #repeated(envelope: Envelope): void {
    if (!this.#acks) return;
    const fate = this.#unacked.get(envelope.offset!);
    if (fate === "failed") this.#deliver(envelope);
    else if (!fate) this.#ack(envelope);
  }

  #ack({ offset }: Envelope): void {
    this.send_({ type: "ack", topic: this.name, payload: { offset } });
  }

  // Those who hold the Map see the whole of the new state at once.
  #endSnapshot(): void {
    if (!this.#inSnapshot || this.#position!.offset < this.#head) return;
    this.#inSnapshot = false;
    if (this.state) {
      this.state.clear();
      for (const [key, value] of this.#fresh!) this.state.set(key, value);
    }
    this.#fresh = undefined;
    this.#emit("snapshot", { topic: this.name, ...this.#position!, state: this.state });
  }
}
