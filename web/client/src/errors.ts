// What can go wrong, as one type: whoever catches it looks at `code`.

/** Codes that the client itself gives. Those of the server are in its protocol, and new ones may
 *  come. */
export type ClientErrorCode =
  /** No answer came within the `timeout` of the request. */
  | "timeout"
  /** The client was closed, or the server said not to come back; `closeCode` says which. */
  | "closed"
  /** More requests waited than `queueMax`. */
  | "queue_full"
  /** The message is larger than the server takes (`limits.message_size`, or the server's own
   *  word). */
  | "too_large"
  /** The token callback failed. The client tries again. */
  | "token"
  /** The server sent what is no envelope. It was left out. */
  | "bad_message"
  /** Offsets jumped without a `gap`. The client subscribes anew from the last good record. */
  | "jump"
  /** A listener of yours threw, or its promise was rejected; `cause` is what it threw. */
  | "listener"
  /** The server does not know wildcards in subscriptions. */
  | "no_wildcards";

/** What else is known of an error. */
export interface ErrorDetails {
  topic?: string | undefined;
  id?: string | undefined;
  uncertain?: boolean;
  closeCode?: number;
  cause?: unknown;
}

/** Every error of this package, thrown, rejected with, or given to an `error` listener. */
export class RingcastError extends Error {
  override readonly name = "RingcastError";
  /** What went wrong; treat one that you do not know as an error like any other. */
  readonly code: ClientErrorCode | (string & {});
  /** The topic that it is about, if it is about one. */
  readonly topic: string | undefined;
  /** The id of the request that failed. */
  readonly id: string | undefined;
  /** Of a publish that failed: it may have been published all the same, only nobody said so. */
  readonly uncertain: boolean;
  /** With `closed`: the close code of the server (RFC 6455, 7.4), or 1000 after `close()`. */
  readonly closeCode: number | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, "cause" in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.topic = details.topic;
    this.id = details.id;
    this.uncertain = details.uncertain ?? false;
    this.closeCode = details.closeCode;
  }
}
