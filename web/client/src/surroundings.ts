// Everything the client takes from where it runs. Tests hand in their own, so that time passes when
// they say so.

/** What is used of a WebSocket. The one of browsers fits, and so does that of npm `ws`. */
export interface SocketLike {
  readonly readyState: number;
  /** Bytes that `send` took and the network did not yet. */
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type SocketConstructor = new (url: string, protocols?: string | string[]) => SocketLike;

export interface Surroundings {
  /** The WebSocket class; the global one unless told. Node has one from version 22 on. */
  WebSocket: SocketConstructor;
  /** Evenly spread in [0, 1): jitter, and the prefix of ids. */
  random: () => number;
  /** Milliseconds of a clock that never goes back. */
  now: () => number;
  /** Calls `action` once, after `ms` milliseconds, never within the call itself. */
  later: (action: () => void, ms: number) => unknown;
  /** Takes back what `later` returned. Nothing happens if it has been called. */
  cancel: (timer: any) => void;
}

export function surroundingsOf(given: Partial<Surroundings>): Surroundings {
  const socket = given.WebSocket ?? (globalThis as { WebSocket?: SocketConstructor }).WebSocket;
  if (!socket) throw new TypeError("there is no global WebSocket here: pass options.WebSocket");
  return {
    WebSocket: socket,
    random: given.random ?? Math.random,
    now: given.now ?? (() => performance.now()),
    later: given.later ?? ((action, ms) => setTimeout(action, ms)),
    cancel: given.cancel ?? ((timer) => clearTimeout(timer)),
  };
}
