// One connection after the other, as if it were one: dials, says who we are, notices silence, comes
// back. What is sent and received is the business of others.

import { RingcastError } from "./errors.js";
import type { SocketLike, Surroundings } from "./surroundings.js";
import { backoffMs, isFinal, toldDelayMs } from "./wire.js";
import type { Envelope } from "./wire.js";

/** How the connection is. `connected` begins with the server's `welcome`. */
export type State =
  | { state: "connecting" }
  | { state: "connected"; clientId: string }
  /** The next attempt is in `retryMs` milliseconds. `closeCode` and `reason`: of the server, else
   *  1006 and "". */
  | { state: "waiting"; retryMs: number; closeCode: number; reason: string }
  /** For good. `closeCode` is 1000 after `close()`. */
  | { state: "closed"; closeCode: number; reason: string };

/** What `welcome` said. Nothing of it is known before. */
export interface Limits {
  /** Bytes of a message, in UTF-8 and with its envelope. */
  message_size?: number;
  /** Subscriptions of a client. */
  topics?: number;
  /** 0 is without limit. */
  messages_per_second?: number;
}

export interface ConnectionOptions {
  token?: (() => string | Promise<string>) | undefined;
  tokenIn?: "auth" | "query" | undefined;
  clientId?: string | undefined;
  pingIntervalMs?: number | undefined;
}

/** Who is told. */
export interface Hub {
  state_(state: State): void;
  connected_(): void;
  lost_(): void;
  ended_(error: RingcastError): void;
  received_(envelope: Envelope): void;
  report_(error: RingcastError): void;
}

const answerMaxMs = 10_000;  // of a ping
const attemptMaxMs = 15_000; // from the token to the welcome
const bufferedMax = 1 << 20; // bytes
const open = 1;              // of readyState

const quiet = (): void => {};

export class Connection {
  /** After the `welcome`, until it is lost. */
  ready_ = false;
  clientId_: string | undefined;
  session_: string | undefined;
  limits_: Limits = {};

  #socket: SocketLike | undefined;
  #ended = false;
  #attempt = 0; // what belongs to an earlier one has nothing to say any more
  #failures = 0;
  #timer: unknown;
  #heardAt = 0;
  #intervalMs = 25_000;
  #tokens = 0; // messages that may be sent now
  #filledAt = 0;
  #pongs = new Map<string, (at?: number) => void>();

  constructor(
    private readonly url_: string,
    private readonly options_: ConnectionOptions,
    private readonly surroundings_: Surroundings,
    private readonly newId_: () => string,
    private readonly hub_: Hub,
  ) {
    this.clientId_ = options_.clientId;
  }

  open_(): void {
    const attempt = ++this.#attempt;
    this.#in(attemptMaxMs, () => this.drop_());
    this.hub_.state_({ state: "connecting" });
    const { token } = this.options_;
    if (attempt !== this.#attempt) return; // a listener closed us
    if (!token) return this.#dial();
    new Promise<string>((resolve) => resolve(token())).then(
      (word) => {
        if (attempt === this.#attempt) this.#dial(word);
      },
      (cause) => {
        if (attempt !== this.#attempt) return;
        this.hub_.report_(new RingcastError("token", "the token callback failed", { cause }));
        this.drop_();
      });
  }

  /** False, and nothing is sent, when there is no connection. */
  send_(envelope: Envelope | string): boolean {
    if (!this.ready_ || this.#socket?.readyState !== open) return false;
    this.#tokens -= 1;
    this.#socket.send(typeof envelope === "string" ? envelope : JSON.stringify(envelope));
    return true;
  }

  /** Milliseconds to wait before something that can wait is sent: the server refuses what is over
   *  its rate, and what lies in a socket's buffer cannot be taken back. */
  pause_(): number {
    const rate = this.limits_.messages_per_second;
    if (this.#socket && this.#socket.bufferedAmount > bufferedMax) return 100;
    if (!rate) return 0;
    const now = this.surroundings_.now();
    this.#tokens = Math.min(rate, this.#tokens + (now - this.#filledAt) * rate / 1000);
    this.#filledAt = now;
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) * 1000 / rate);
  }

  /** Milliseconds to the server and back; undefined if the connection ends before. */
  ping_(): Promise<number | undefined> {
    return new Promise((resolve) => {
      const id = this.newId_();
      const sentAt = this.surroundings_.now();
      const ponged = (at?: number): void => resolve(at === undefined ? at : at - sentAt);
      if (this.send_({ type: "ping", id })) this.#pongs.set(id, ponged);
      else ponged();
    });
  }

  /** Gives this connection up and comes back. */
  drop_(closeCode = 1006, reason = ""): void {
    if (this.#ended) return;
    if (isFinal(closeCode)) return this.end_(closeCode, reason);
    this.#release();
    this.#failures = Math.max(this.#failures + 1, closeCode === 4029 ? 5 : 0);
    const retryMs = toldDelayMs(reason) ?? backoffMs(this.#failures, this.surroundings_.random);
    this.#in(retryMs, () => this.open_());
    this.hub_.lost_();
    if (!this.#ended) this.hub_.state_({ state: "waiting", retryMs, closeCode, reason });
  }

  /** For good. */
  end_(closeCode: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    this.hub_.ended_(
      new RingcastError("closed", reason || `closed with ${closeCode}`, { closeCode }));
    this.hub_.state_({ state: "closed", closeCode, reason });
  }

  #dial(token?: string): void {
    const url = new URL(this.url_);
    if (this.clientId_) url.searchParams.set("client_id", this.clientId_);
    if (this.session_) url.searchParams.set("session", this.session_);
    const inQuery = this.options_.tokenIn === "query";
    if (token && inQuery) url.searchParams.set("token", token);
    let socket: SocketLike;
    try {
      socket = new this.surroundings_.WebSocket(url.href, "ringcast.v1");
    } catch (cause) { // an address that is not allowed here, and will not be later
      return this.end_(1006, String(cause));
    }
    this.#socket = socket;
    socket.onopen = () => {
      if (!token || inQuery) return;
      socket.send(JSON.stringify({ type: "auth", id: this.newId_(), payload: { token } }));
    };
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.drop_(event.code, event.reason);
    socket.onerror = quiet; // a close follows, which says more
  }

  #received(data: unknown): void {
    this.#heardAt = this.surroundings_.now();
    try {
      this.#handle(JSON.parse(data as string));
    } catch (cause) { // no JSON, or not as it should be
      this.hub_.report_(new RingcastError("bad_message", String(data).slice(0, 200), { cause }));
    }
  }

  #handle(envelope: Envelope): void {
    if (envelope.type === "welcome") {
      this.#welcomed(envelope.payload);
    } else if (envelope.type === "pong") {
      this.#pongs.get(envelope.id!)?.(this.#heardAt);
      this.#pongs.delete(envelope.id!);
    } else {
      this.hub_.received_(envelope);
    }
  }

  #welcomed(payload: { client_id: string; ping_interval_s?: number; limits?: Limits }): void {
    // The name stays that of the first welcome: by it the server knows what we published before.
    this.clientId_ ??= payload.client_id;
    this.limits_ = payload.limits ?? {};
    this.#intervalMs = this.options_.pingIntervalMs ?? (payload.ping_interval_s ?? 25) * 1000;
    if (this.ready_) return; // another one, behind `auth`
    this.ready_ = true;
    this.#failures = 0; // only now: a server that accepts and drops must not be hammered
    this.#tokens = this.limits_.messages_per_second ?? 0;
    this.#filledAt = this.#heardAt;
    this.#watch();
    this.hub_.connected_();
    if (this.ready_) this.hub_.state_({ state: "connected", clientId: this.clientId_ });
  }

  // Browsers neither send nor show protocol pings, so silence is measured with pings of our own.
  // Only an unanswered one ends a connection: a page in the background is not woken in time for
  // more.
  #watch(): void {
    const silentMs = this.surroundings_.now() - this.#heardAt;
    if (silentMs < this.#intervalMs) {
      this.#in(this.#intervalMs - silentMs, () => this.#watch());
      return;
    }
    const heardAt = this.#heardAt;
    void this.ping_();
    this.#in(answerMaxMs, () => {
      if (this.#heardAt === heardAt) this.drop_();
      else this.#watch();
    });
  }

  #release(): void {
    this.ready_ = false;
    this.#attempt += 1;
    this.surroundings_.cancel(this.#timer);
    for (const ponged of this.#pongs.values()) ponged();
    this.#pongs.clear();
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = quiet;
    socket.close(this.#ended ? 1000 : undefined);
  }

  #in(ms: number, action: () => void): void {
    this.surroundings_.cancel(this.#timer);
    this.#timer = this.surroundings_.later(action, ms);
  }
}
