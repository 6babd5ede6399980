// What is asked of the server and must not be forgotten: publishes and questions. They wait here
// while there is no connection, and those with an answer until it came; an unanswered one is sent
// again under the same id, by which the server knows it.

import type { Connection } from "./connection.js";
import { RingcastError } from "./errors.js";
import type { Surroundings } from "./surroundings.js";
import { backoffMs, errorOf, isPassing } from "./wire.js";
import type { Envelope } from "./wire.js";

interface Request {
  id: string;
  topic: string | undefined;
  text: string;
  answered: boolean; // waits for an answer
  sent: number;      // how often
  refused: number;   // how often with an error that passes
  retry: unknown;    // timers
  expiry: unknown;
  resolve: (answer: Envelope | undefined) => void;
  reject: (error: RingcastError) => void;
}

const retryMinMs = 5_000; // the server may be slow, or a record large
const retryMaxMs = 30_000;
const timerMaxMs = 2 ** 31 - 1;

export class Requests {
  #all = new Map<string, Request>();
  #waiting = new Set<Request>(); // to be sent, in this order
  #timer: unknown;
  #closed: RingcastError | undefined;
  #prefix: string;
  #count = 0;

  constructor(
    private readonly surroundings_: Surroundings,
    private readonly max_: number,
  ) {
    this.#prefix = surroundings_.random().toString(36).slice(2, 12);
  }

  /** Set right behind the constructor: a connection needs ids, and requests a connection. */
  connection_!: Connection;

  /** How many have not been sent, or not been answered. */
  get size_(): number {
    return this.#all.size;
  }

  /** No other client uses it, nor this one again. `answered`: somebody waits for the answer, and
   *  when nobody does any more, an error is none. */
  newId_(answered = false): string {
    return this.#prefix + (answered ? "+" : "-") + ++this.#count;
  }

  /** Ends with the answer; without `answered` with undefined when the message was sent. */
  add_(envelope: Envelope, answered: boolean, timeoutMs: number): Promise<Envelope | undefined> {
    return new Promise((resolve, reject) => {
      const id = this.newId_(answered);
      const { topic } = envelope;
      const request: Request = {
        id, topic, text: JSON.stringify({ ...envelope, id }), answered, resolve, reject,
        sent: 0, refused: 0, retry: undefined, expiry: undefined,
      };
      if (this.#closed) {
        const { message, closeCode } = this.#closed;
        reject(new RingcastError("closed", message, { topic, id, closeCode: closeCode! }));
        return;
      }
      this.#all.set(id, request);
      this.#waiting.add(request);
      if (timeoutMs <= timerMaxMs) {
        request.expiry = this.surroundings_.later(
          () => this.#fail(request, "timeout", `no answer within ${timeoutMs} ms`), timeoutMs);
      }
      if (!answered) this.flush_(); // it does not wait if it need not
      if (this.#all.size > this.max_) this.#refuseOldest();
      this.flush_();
    });
  }

  /** What has no answer yet is sent again on the next connection, all in the order of their
   *  making. */
  lost_(): void {
    this.surroundings_.cancel(this.#timer);
    this.#timer = undefined;
    for (const { retry } of this.#all.values()) this.surroundings_.cancel(retry);
    this.#waiting = new Set(this.#all.values());
  }

  /** Sends what waits, no faster than the server lets us. */
  flush_(): void {
    if (this.#timer !== undefined) return;
    for (const request of this.#waiting) {
      const pauseMs = this.connection_.pause_();
      if (pauseMs > 0) {
        this.#timer = this.surroundings_.later(() => {
          this.#timer = undefined;
          this.flush_();
        }, pauseMs);
        return;
      }
      if (this.#isTooLarge(request.text)) {
        this.#fail(request, "too_large", "larger than the server takes");
      } else if (!this.connection_.send_(request.text)) {
        return;
      } else {
        this.#wasSent(request);
      }
    }
  }

  answer_(envelope: Envelope): void {
    const request = this.#all.get(envelope.id!);
    if (!request) return; // answered before, or given up
    this.#settle(request);
    request.resolve(envelope);
  }

  /** An error as an answer. False if nobody asked. */
  refuse_(envelope: Envelope): boolean {
    const request = this.#all.get(envelope.id!);
    if (!request) return envelope.id?.startsWith(`${this.#prefix}+`) ?? false;
    if (isPassing(envelope)) {
      this.#waiting.delete(request);
      this.#again(request, backoffMs(++request.refused, this.surroundings_.random));
    } else {
      this.#settle(request);
      request.reject(errorOf(envelope, request.sent - request.refused > 1));
    }
    return true;
  }

  close_(error: RingcastError): void {
    this.#closed = error;
    for (const request of this.#all.values()) {
      this.#fail(request, "closed", error.message, error.closeCode);
    }
  }

  #wasSent(request: Request): void {
    request.sent += 1;
    this.#waiting.delete(request);
    if (request.answered) {
      const { random } = this.surroundings_;
      this.#again(request, backoffMs(request.sent, random, retryMinMs, retryMaxMs));
    } else {
      this.#settle(request);
      request.resolve(undefined);
    }
  }

  #again(request: Request, ms: number): void {
    this.surroundings_.cancel(request.retry);
    request.retry = this.surroundings_.later(() => {
      this.#waiting.add(request);
      this.flush_();
    }, ms);
  }

  // Too many wait. The oldest that was not sent goes, be it the new one: of one that was, nobody
  // could say whether it was published.
  #refuseOldest(): void {
    for (const request of this.#all.values()) {
      if (request.sent > request.refused) continue;
      this.#fail(request, "queue_full", `more than ${this.max_} wait`);
      return;
    }
  }

  #isTooLarge(text: string): boolean {
    const limit = this.connection_.ready_ ? this.connection_.limits_.message_size : undefined;
    if (!limit || text.length * 3 <= limit) return false; // at most three bytes for a UTF-16 unit
    return new TextEncoder().encode(text).length > limit;
  }

  #settle(request: Request): void {
    this.#all.delete(request.id);
    this.#waiting.delete(request);
    this.surroundings_.cancel(request.retry);
    this.surroundings_.cancel(request.expiry);
  }

  #fail(request: Request, code: string, message: string, closeCode?: number): void {
    this.#settle(request);
    const { topic, id, sent, refused } = request;
    const details = { topic, id, uncertain: sent > refused };
    request.reject(new RingcastError(code, message,
      closeCode === undefined ? details : { ...details, closeCode }));
  }
}
