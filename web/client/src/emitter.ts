// Events with types. A listener that fails disturbs neither the others nor the connection.

/** Takes a listener away again. */
export type Off = () => void;

/** What a listener's promise ends with when it did not do its work, and need not say why.
 *  @internal */
export const unhandled_ = Symbol();

/** Whether a listener did its work. @internal */
export type Outcome = boolean | Promise<boolean>;

export abstract class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<(event: any) => unknown>>();

  /** Calls `listener` on every event of this name, until the function it returns is called. Of a
   *  listener that returns a promise the outcome is waited for where it matters: before an
   *  `ack`. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => unknown): Off {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** What a listener threw. @internal */
  abstract failed_(cause: unknown): void;

  /** Of every listener: whether it did its work. @internal */
  emit_<Name extends keyof Events>(name: Name, event: Events[Name]): Outcome[] {
    const failed = (cause: unknown): boolean => {
      if (name === "error") console.error(cause); // its listener must not hear of itself
      else this.failed_(cause);
      return false;
    };
    return [...this.#listeners.get(name) ?? []].map((listener) => {
      try {
        const outcome = listener(event) as PromiseLike<unknown> | undefined;
        return outcome?.then
          ? Promise.resolve(outcome).then((value) => value !== unhandled_, failed) : true;
      } catch (cause) {
        return failed(cause);
      }
    });
  }
}
