// The buffer behind a `for await` loop. It is bounded: a loop slower than its topic loses the
// oldest records, and is told so.

import { unhandled_ } from "./emitter.js";
import type { Message } from "./wire.js";

interface Item<T> {
  message: Message<T>;
  /** Without a word: the loop came back for more, so it is done with this one. */
  settle: (outcome?: typeof unhandled_) => void;
}

interface Waiter<T> {
  resolve: (result: IteratorResult<Message<T>, undefined>) => void;
  reject: (error: Error) => void;
}

export class MessageBuffer<T> implements AsyncIterableIterator<Message<T>> {
  #items: Item<T>[] = [];
  #waiters: Waiter<T>[] = [];
  #taken: Item<T> | undefined;
  #ended = false;
  #error: Error | undefined;

  constructor(
    private readonly max_: number,
    private readonly dropped_: (message: Message<T>) => void,
    private readonly returned_: () => void,
  ) {}

  /** Ends when the loop asks for the next record, or with `unhandled_`. @internal */
  push_(message: Message<T>): Promise<unknown> {
    return new Promise((settle) => {
      this.#items.push({ message, settle });
      if (this.#waiters.length > 0) this.#hand(this.#waiters.shift()!);
      if (this.#items.length > this.max_) {
        const oldest = this.#items.shift()!;
        oldest.settle(unhandled_);
        this.dropped_(oldest.message);
      }
    });
  }

  /** Nothing more comes. What is buffered is still handed out, and then the error, if there is one.
   *  @internal */
  end_(error?: Error): void {
    this.#ended = true;
    this.#error = error;
    for (const waiter of this.#waiters.splice(0)) this.#hand(waiter);
  }

  next(): Promise<IteratorResult<Message<T>, undefined>> {
    this.#taken?.settle();
    this.#taken = undefined;
    return new Promise((resolve, reject) => {
      if (this.#items.length > 0 || this.#ended) this.#hand({ resolve, reject });
      else this.#waiters.push({ resolve, reject });
    });
  }

  /** The loop was left: what it was at and what is still buffered was not handled. */
  return(): Promise<IteratorResult<Message<T>, undefined>> {
    this.returned_();
    if (this.#taken) this.#items.unshift(this.#taken);
    this.#taken = undefined;
    for (const { settle } of this.#items.splice(0)) settle(unhandled_);
    this.end_();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #hand({ resolve, reject }: Waiter<T>): void {
    const item = this.#items.shift();
    if (item) {
      this.#taken?.settle();
      this.#taken = item;
      resolve({ done: false, value: item.message });
    } else if (this.#error) {
      reject(this.#error);
      this.#error = undefined;
    } else {
      resolve({ done: true, value: undefined });
    }
  }
}
