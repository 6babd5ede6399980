/**
 * Opens what a ringcast server has sealed: payloads of topics with a key (AES-256-GCM).
 *
 * A WebSocket in front of the real one. Records come out of it as if they had never been sealed, in
 * their order; the client knows nothing of it.
 *
 * @module
 */
import type { SocketConstructor, SocketLike } from "./surroundings.js";
import type { Envelope } from "./wire.js";

/** A key: its 64 hexadecimal digits, its 32 bytes, or a `CryptoKey` for HKDF (`deriveKey`), which
 *  need not be extractable. */
export type Secret = string | Uint8Array | { readonly algorithm: unknown };

export interface SealedOptions {
  /** By key id; or a function that finds one, asked when a record is sealed with a key that was not
   *  met before, and again for the next record when it found none. */
  keys: Readonly<Record<string, Secret>>
    | ((id: string, topic: string) => Secret | undefined | Promise<Secret | undefined>);
  /** Topics of which nothing is taken that is not sealed, so that nobody on the way can put
   *  something there. Unless told, what is not sealed is handed on as it is. */
  required?: (topic: string) => boolean;
  /** The WebSocket class; the global one unless told. */
  WebSocket?: SocketConstructor;
}

// As it stands in an envelope.
interface Box {
  v: 1;
  alg: "A256GCM";
  kid: string;
  data: string;
}

const saltSize = 16;
const nonceSize = 12;
const derivedMax = 64; // keys: one for each secret and core of the server; another life has others
const utf8 = new TextEncoder();
const asText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function boxOf(payload: any): Box | undefined {
  const box = payload?.sealed;
  return box?.v === 1 && box.alg === "A256GCM" && typeof box.kid === "string"
    && typeof box.data === "string" && Object.keys(payload).length === 1 ? box : undefined;
}

function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (c) => c.charCodeAt(0));
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// Associated data: every text with its size in front, then epoch and offset.
function placeOf(
  id: string, { topic, key, offset }: Envelope, epoch: string,
): Uint8Array<ArrayBuffer> {
  const texts = [id, topic!, key ?? ""].map((text) => utf8.encode(text));
  const bytes = new Uint8Array(texts.reduce((size, text) => size + 1 + text.length, 4 + 16));
  bytes.set(utf8.encode("RCS1"));
  let at = 4;
  for (const text of texts) {
    bytes[at] = text.length;
    bytes.set(text, at + 1);
    at += 1 + text.length;
  }
  const numbers = new DataView(bytes.buffer, at);
  numbers.setBigUint64(0, BigInt(`0x${epoch}`));
  numbers.setBigUint64(8, BigInt(offset!));
  return bytes;
}

async function baseOf(secret: Secret): Promise<CryptoKey> {
  if (typeof secret !== "string" && !(secret instanceof Uint8Array)) return secret as CryptoKey;
  const bytes = typeof secret === "string"
    ? Uint8Array.from(secret.match(/../g) ?? [], (digits) => parseInt(digits, 16))
    : new Uint8Array(secret);
  if (bytes.length !== 32) throw new TypeError("a key has 32 bytes, or 64 hexadecimal digits");
  return crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveKey"]);
}

// What the sockets of one client share: the keys that it has derived.
class Opener {
  #derived = new Map<string, Promise<CryptoKey>>();

  constructor(readonly options: SealedOptions) {}

  /** The envelope as text, as if its payload had never been sealed. */
  async open(envelope: Envelope, epoch: string | undefined): Promise<string> {
    const { payload, ...rest } = envelope;
    const { kid, data } = boxOf(payload)!;
    if (!epoch) throw new Error("its epoch is not known");
    const bytes = fromBase64url(data);
    const salt = bytes.subarray(0, saltSize);
    const key = await this.#key(kid, salt, envelope.topic!);
    const nonce = bytes.subarray(saltSize, saltSize + nonceSize);
    const sealed = bytes.subarray(saltSize + nonceSize);
    const plain = new Uint8Array(await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: nonce, additionalData: placeOf(kid, envelope, epoch) }, key, sealed,
    ).catch(() => {
      throw new Error(`it is not what was sealed with the key ${kid}, or not for this place`);
    }));
    const content = plain.subarray(1);
    const head = JSON.stringify(rest).slice(0, -1);
    switch (plain[0]) {
      case 0: return `${head},"payload":${asText.decode(content)}}`;
      case 1: return `${head},"payload":${JSON.stringify(asText.decode(content))}}`;
      case 2: return `${head},"encoding":"base64","payload":"${toBase64(content)}"}`;
      default: throw new Error("it is sealed in a form of a later version");
    }
  }

  #key(kid: string, salt: Uint8Array<ArrayBuffer>, topic: string): Promise<CryptoKey> {
    const name = `${kid} ${salt.join()}`;
    let derived = this.#derived.get(name);
    if (!derived) {
      derived = this.#derive(kid, salt, topic);
      this.#derived.set(name, derived);
      derived.catch(() => this.#derived.delete(name)); // it may be there for the next record
      for (const oldest of this.#derived.keys()) {
        if (this.#derived.size <= derivedMax) break;
        this.#derived.delete(oldest);
      }
    }
    return derived;
  }

  async #derive(kid: string, salt: Uint8Array<ArrayBuffer>, topic: string): Promise<CryptoKey> {
    const { keys } = this.options;
    const secret = typeof keys === "function" ? await keys(kid, topic)
      : Object.hasOwn(keys, kid) ? keys[kid] : undefined;
    if (secret === undefined) throw new Error(`the key ${kid} is not here`);
    return crypto.subtle.deriveKey(
      { name: "HKDF", hash: "SHA-256", salt, info: utf8.encode(`ringcast seal v1 ${kid}`) },
      await baseOf(secret), { name: "AES-GCM", length: 256 }, false, ["decrypt"]);
  }
}

class SealedSocket implements SocketLike {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;

  readonly #socket: SocketLike;
  #epochs = new Map<string, string>(); // by topic, as `subscribed` said
  #waiting = 0;                        // what came and was not handed on yet
  #tail: Promise<void> = Promise.resolve();

  constructor(private readonly opener: Opener, url: string, protocols?: string | string[]) {
    const Socket = opener.options.WebSocket ?? (globalThis as any).WebSocket as SocketConstructor;
    this.#socket = new Socket(url, protocols);
    this.#socket.onopen = (event) => this.onopen?.(event);
    this.#socket.onerror = (event) => this.onerror?.(event);
    this.#socket.onclose = (event) => this.#then(() => this.onclose?.(event));
    this.#socket.onmessage = ({ data }) => this.#received(data);
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }

  // In order: at once, if nothing before it waits.
  #then(step: () => void): void {
    if (this.#waiting === 0) step();
    else this.#later(Promise.resolve(), step);
  }

  #later<T>(ready: Promise<T>, step: (value: T) => void): void {
    this.#waiting += 1;
    this.#tail = this.#tail.then(() => ready).then(step).catch(console.error)
      .then(() => void (this.#waiting -= 1));
  }

  #received(data: unknown): void {
    const opened = this.#open(data);
    if (opened) this.#later(opened, (texts) => texts.forEach((text) => this.#deliver(text)));
    else this.#then(() => this.#deliver(data));
  }

  #deliver(data: unknown): void {
    this.onmessage?.({ data });
  }

  // What is to be handed on in place of this, or nothing: as it is. Opening begins now, so that
  // several go on at the same time.
  #open(data: unknown): Promise<string[]> | undefined {
    if (typeof data !== "string") return undefined;
    if (!this.opener.options.required && !/"(sealed|subscribed)"/.test(data)) return undefined;
    let envelope: Envelope;
    try {
      envelope = JSON.parse(data);
    } catch {
      return undefined; // the client says what it has against it
    }
    const { type, topic, payload } = envelope;
    if (type === "subscribed" && payload?.epoch) this.#epochs.set(topic!, payload.epoch);
    if (type === "history") return this.#openHistory(envelope);
    if (type !== "data_update") return undefined;
    return this.#openRecord(envelope, this.#epochs.get(topic!)).then(
      (text) => [text ?? data],
      (error) => [this.#errorOf(envelope, error), this.#gapOf(envelope)]);
  }

  // Its text, or nothing: as it is.
  async #openRecord(record: Envelope, epoch: string | undefined): Promise<string | undefined> {
    if (boxOf(record.payload)) return this.opener.open(record, epoch);
    if (this.opener.options.required?.(record.topic!)) throw new Error("it is not sealed");
    return undefined;
  }

  async #openHistory(answer: Envelope): Promise<string[]> {
    const { records, epoch } = answer.payload;
    const errors: string[] = [];
    const opened = await Promise.all((records as Envelope[]).map(async (record) => {
      try {
        const text = await this.#openRecord(record, epoch);
        return text === undefined ? record : JSON.parse(text);
      } catch (error) {
        errors.push(this.#errorOf(record, error as Error));
      }
    }));
    const payload = { ...answer.payload, records: opened.filter((record) => record) };
    return [...errors, JSON.stringify({ ...answer, payload })];
  }

  #errorOf({ topic, offset }: Envelope, error: Error): string {
    const message = `record ${offset} of ${topic} cannot be opened: ${error.message}`;
    return JSON.stringify({ type: "error", id: "", topic, payload: { code: "sealed", message } });
  }

  // It came, and yet it does not.
  #gapOf({ topic, offset }: Envelope): string {
    const payload = { from: offset, to: offset, reason: "sealed", next: offset! + 1 };
    return JSON.stringify({ type: "gap", id: "", topic, payload });
  }
}

/**
 * A WebSocket class that opens what is sealed: `connect(url, { WebSocket: sealed({ keys }) })`.
 *
 * Needs WebCrypto, which browsers have on pages from https and localhost. A record that cannot be
 * opened is a `gap` with the reason `sealed`, and an `error` event with the code `sealed` says why.
 */
export function sealed(options: SealedOptions): SocketConstructor {
  if (!globalThis.crypto?.subtle) {
    throw new TypeError("there is no WebCrypto here: it needs https, or localhost");
  }
  const opener = new Opener(options);
  return class extends SealedSocket {
    constructor(url: string, protocols?: string | string[]) {
      super(opener, url, protocols);
    }
  };
}
