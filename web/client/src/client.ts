// The client: what its user holds. Puts the parts together and says which envelope goes where.

import { Connection } from "./connection.js";
import type { ConnectionOptions, Limits, State } from "./connection.js";
import { Emitter } from "./emitter.js";
import { RingcastError } from "./errors.js";
import { Requests } from "./requests.js";
import { surroundingsOf } from "./surroundings.js";
import type { Surroundings } from "./surroundings.js";
import type { SubscribeOptions, Subscription } from "./subscription.js";
import { Subscriptions } from "./subscriptions.js";
import type { Audience } from "./topic.js";
import { errorOf, messageOf } from "./wire.js";
import type { Envelope, Message, Position } from "./wire.js";

export interface ClientOptions extends Partial<Surroundings> {
  /** Called before every attempt to connect: what it returns or resolves to is sent as the
   *  token. */
  token?: ConnectionOptions["token"];
  /** `auth` (unless told): in a message of its own, so that it stands in no access log; `query`: as
   *  `?token=`. */
  tokenIn?: ConnectionOptions["tokenIn"];
  /** A name of one's own. It must be nobody else's: the server closes the older of two connections.
   *  Otherwise the server chooses one, which is kept over lost connections. */
  clientId?: string;
  /** How many publishes and questions may wait for the connection or their answer: 1000 unless
   *  told. */
  queueMax?: number;
  /** After how many milliseconds of silence the server is pinged; unless told, what it says
   *  itself. */
  pingIntervalMs?: number;
}

export interface PublishOptions {
  /** Whose latest value this is. Keyed topics need it; a payload of `null` deletes the key
   *  there. */
  key?: string;
  /** Wait for the server's word that the record is in its log; asks again until it came. */
  ack?: boolean;
  /** Milliseconds after which it is given up. With `ack` 60,000 unless told, else without end.
   *  Longer than the server remembers ids, a record may be published twice. */
  timeout?: number;
}

export interface HistoryOptions {
  /** The first offset wanted; without it the oldest that is kept. */
  from?: number;
  /** At most so many records. The server may give fewer: see `more`. */
  limit?: number;
  /** Milliseconds after which it is given up: 60,000 unless told. */
  timeout?: number;
}

export interface History<T = unknown> {
  epoch: string;
  /** The oldest offset that is kept, and the next that will be given. */
  first: number;
  next: number;
  records: Message<T>[];
  /** Whether there are more behind the last of `records`. */
  more: boolean;
}

/** Events of a client. */
export interface ClientEvents {
  state: State;
  /** Whatever went wrong and was not told by a promise. Without a listener it goes to the
   *  console. */
  error: RingcastError;
}

const answerTimeoutMs = 60_000;

export class Client extends Emitter<ClientEvents> {
  /** How the connection is. */
  state: State = { state: "connecting" };
  readonly #requests: Requests;
  readonly #connection: Connection;
  readonly #subscriptions: Subscriptions;

  /** @internal */
  constructor(url: string, options: ClientOptions) {
    super();
    const surroundings = surroundingsOf(options);
    const requests = this.#requests = new Requests(surroundings, options.queueMax ?? 1000);
    this.#connection = new Connection(url, options, surroundings, () => requests.newId_(), {
      state_: (state) => {
        this.state = state;
        this.emit_("state", state);
      },
      connected_: () => {
        this.#subscriptions.connected_();
        requests.flush_();
      },
      lost_: () => {
        this.#subscriptions.lost_();
        requests.lost_();
      },
      ended_: (error) => {
        this.#subscriptions.close_(error.closeCode === 1000 ? undefined : error);
        requests.close_(error);
      },
      received_: (envelope) => this.#received(envelope),
      report_: (error) => this.#report(error),
    });
    requests.connection_ = this.#connection;
    this.#subscriptions = new Subscriptions(
      surroundings, this.#connection, () => requests.newId_(true),
      (error, audience) => this.#report(error, audience));
    this.#connection.open_();
  }

  /** The name under which the server knows us; undefined before its first welcome. */
  get clientId(): string | undefined {
    return this.#connection.clientId_;
  }

  /** What the server allows, as its last `welcome` said; empty before. */
  get limits(): Readonly<Limits> {
    return this.#connection.limits_;
  }

  /** How many publishes and questions wait for the connection or their answer. */
  get pending(): number {
    return this.#requests.size_;
  }

  /**
   * Subscribes to a topic, or with `*` (one level) and `>` (all further levels) to all that match,
   * now and later. Each topic or pattern can be subscribed once at a time. What the server has
   * against it comes as an `error` event.
   *
   * @param listener gets every record, in order and once. Records that want an `ack` get it when it
   *     returned, or when the promise it returned has resolved.
   * @throws RingcastError `already_subscribed`, or `closed`
   */
  subscribe<T = unknown>(
    filter: string, listener?: ((message: Message<T>) => unknown) | null,
    options: SubscribeOptions = {},
  ): Subscription<T> {
    if (this.state.state === "closed") throw new RingcastError("closed", "the client is closed");
    const subscription = this.#subscriptions.add_<T>(filter, options);
    if (listener) subscription.on("message", listener);
    return subscription;
  }

  /**
   * Publishes a record; while there is no connection it waits.
   *
   * With `ack` the promise resolves once the server has the record, with its place. It is published
   * once, however often it had to be sent. The promise rejects with what the server has against it,
   * or with `timeout`, `closed`, `queue_full`, `too_large`; then `uncertain` says whether it may
   * have been published all the same.
   *
   * Without `ack` the promise resolves once it was handed to the connection: whether it arrived is
   * not known. A rejection is also told as an `error` event, so the promise may be left alone.
   *
   * @param payload anything that JSON can say
   */
  publish(
    topic: string, payload: unknown, options: PublishOptions & { ack: true }): Promise<Position>;
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<Position | undefined>;
  publish(
    topic: string, payload: unknown, options: PublishOptions = {},
  ): Promise<Position | undefined> {
    const { key, ack = false, timeout = ack ? answerTimeoutMs : Infinity } = options;
    const envelope = { type: "publish", topic, key, ack_required: ack || undefined, payload };
    const sent = this.#requests.add_(envelope as Envelope, ack, timeout)
      .then((answer) => answer?.payload as Position | undefined);
    if (!ack) sent.catch((error) => this.#report(error));
    return sent;
  }

  /** Records that the server keeps of a topic, oldest first; of keyed topics the latest of each
   *  key. Fails as `publish` does. */
  async history<T = unknown>(topic: string, options: HistoryOptions = {}): Promise<History<T>> {
    const { from, limit, timeout = answerTimeoutMs } = options;
    const question = { type: "history", topic, payload: { from, limit } };
    const { payload } = (await this.#requests.add_(question, true, timeout))!;
    const { epoch, first, next, more } = payload;
    const records = payload.records.map((record: Envelope) => messageOf<T>(record, epoch));
    return { epoch, first, next, more, records };
  }

  /** Milliseconds to the server and back; undefined if there is no connection, or it is lost before
   *  the answer. */
  ping(): Promise<number | undefined> {
    return this.#connection.ping_();
  }

  /** Ends everything, for good. Promises that are pending reject with `closed`: who wants to know
   *  waits for them first. */
  close(reason = ""): void {
    this.#connection.end_(1000, reason);
  }

  #received(envelope: Envelope): void {
    switch (envelope.type) {
      case "ack":
      case "history": // a record may carry the id of a publish of ours, too, and is no answer
        this.#requests.answer_(envelope);
        break;
      case "error": // one of an ack that was sent twice says nothing
        if (envelope.payload.code !== "not_awaited" && !this.#subscriptions.refuse_(envelope)
          && !this.#requests.refuse_(envelope)) {
          this.#report(errorOf(envelope));
        }
        break;
      default:
        this.#subscriptions.received_(envelope);
    }
  }

  #report(error: RingcastError, audience: Iterable<Audience> = []): void {
    const heard = [...audience].flatMap((one) => one.emit_("error", error));
    heard.push(...this.emit_("error", error));
    if (heard.length === 0) console.error(error);
  }

  /** @internal */
  failed_(cause: unknown): void {
    this.#report(new RingcastError("listener", "a listener failed", { cause }));
  }
}

/**
 * Connects to a server, and stays connected until `close`, or until the server says not to come
 * back.
 *
 * @param url of its `/ws`, with `ws:` or `wss:`; `http:`, `https:` and what is relative to the page
 *     will do, and so will a `URL`
 * @throws TypeError if that is no address, or there is no WebSocket here
 */
export function connect(url: string | { href: string }, options: ClientOptions = {}): Client {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  const address = new URL(typeof url === "string" ? url : url.href, base);
  address.protocol = address.protocol.replace("http", "ws");
  return new Client(address.href, options);
}
