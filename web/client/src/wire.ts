// What goes over the wire: envelopes as docs/PROTOCOL.md of the server describes them, and what
// their close codes mean. Pure functions.

import { RingcastError } from "./errors.js";

/** One JSON message, either way. */
export interface Envelope {
  type: string;
  id?: string;
  timestamp?: number;
  topic?: string;
  offset?: number;
  key?: string;
  ack_required?: boolean;
  encoding?: string;
  payload?: any;
}

/** A place in a topic: everything up to `offset` of this epoch is known. */
export interface Position {
  /** 0 is before the first record. */
  offset: number;
  /** Which life of the topic: it changes when the server lost its memory of it. */
  epoch: string;
}

/** A record of a topic. */
export interface Message<T = unknown> extends Position {
  topic: string;
  /** What its publisher called it, else its offset as text. */
  id: string;
  /** When the server took it: Unix time in seconds. */
  timestamp: number;
  /** On keyed topics: whose latest value this is. */
  key: string | undefined;
  /** JSON as it was published; of what was published as binary a `Uint8Array`. */
  payload: T;
}

export function messageOf<T>(envelope: Envelope, epoch: string): Message<T> {
  const { payload } = envelope;
  return {
    topic: envelope.topic!,
    offset: envelope.offset!,
    epoch,
    id: envelope.id!,
    timestamp: envelope.timestamp!,
    key: envelope.key,
    payload: envelope.encoding === "base64"
      ? Uint8Array.from(atob(payload), (c) => c.charCodeAt(0)) : payload,
  };
}

export function errorOf(envelope: Envelope, uncertain = false): RingcastError {
  const { code, message } = envelope.payload;
  return new RingcastError(code, message, { topic: envelope.topic, id: envelope.id, uncertain });
}

/** Refusals that pass by themselves: the same request is made again, later. */
export function isPassing(envelope: Envelope): boolean {
  return envelope.payload.code === "busy" || envelope.payload.code === "rate_limited";
}

// --- Patterns ---

export function isPattern(filter: string): boolean {
  return /(^|\.)[*>](\.|$)/.test(filter);
}

/** `*` is one level, `>` at the end one or more; any other filter is the name of one topic. */
export function matcherOf(filter: string): (topic: string) => boolean {
  const levels = filter.split(".").map((level) =>
    level === "*" ? "[^.]+" : level === ">" ? ".+" : level.replace(/[^\w]/g, "\\$&"));
  const pattern = new RegExp(`^${levels.join("\\.")}$`, "s");
  return (topic) => topic === filter || (isPattern(filter) && pattern.test(topic));
}

// --- Coming back ---

const toldMaxMs = 600_000;

/** Full jitter: spread over the whole interval, so that the clients of a restarted server do not
 *  all come back at once. `failures` counts from 1. */
export function backoffMs(failures: number, random: () => number, min = 300, max = 15_000): number {
  return min + random() * (Math.min(max, min * 2 ** failures) - min);
}

/** Whether a close code says that coming back would only be answered in the same way. */
export function isFinal(code: number): boolean {
  return [1002, 1003, 1007, 1008, 1009].includes(code) || (code >= 4500 && code < 5000);
}

/** A server that restarts may say in the close reason when to come back: {"retry_ms": 1234}. */
export function toldDelayMs(reason: string): number | undefined {
  try {
    const ms = JSON.parse(reason).retry_ms;
    return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, toldMaxMs) : undefined;
  } catch {
    return undefined;
  }
}
