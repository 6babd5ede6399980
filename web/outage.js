// A WebSocket whose connection the page can cut, as a network does: without a word to the client,
// who then has to come back. Until the outage is over every attempt fails.

const newest = { socket: undefined, until_ms: 0 };

export class CuttableSocket {
  readyState = 0;
  #socket;
  #timer;

  constructor(url, protocols) {
    newest.socket = this;
    const left_ms = newest.until_ms - performance.now();
    if (left_ms > 0) {
      this.#timer = setTimeout(() => this.cut(), left_ms);
      return;
    }
    const socket = this.#socket = new WebSocket(url, protocols);
    for (const name of ["onopen", "onmessage", "onclose", "onerror"]) {
      socket[name] = (event) => {
        this.readyState = socket.readyState;
        this[name]?.(event);
      };
    }
  }

  get bufferedAmount() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(text) {
    this.#socket.send(text);
  }

  close(code, reason) {
    clearTimeout(this.#timer);
    this.readyState = 3;
    this.#socket?.close(code, reason);
  }

  cut() {
    if (this.readyState === 3) return;
    const { onclose } = this;
    this.close();
    onclose?.({ code: 1006, reason: "" });
  }
}

// Cuts the connection now, for so long at least.
export function cut(span_ms) {
  newest.until_ms = performance.now() + span_ms;
  newest.socket?.cut();
}
