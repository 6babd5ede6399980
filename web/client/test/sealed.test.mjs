// Sealed payloads: what is sealed here, by other code, comes out in order, and nothing else does.
import assert from "node:assert/strict";
import { createCipheriv, hkdfSync, randomBytes } from "node:crypto";
import { test } from "node:test";

import { sealed } from "../dist/sealed.js";
import { fateOf, logOf, settled, world } from "./world.mjs";

const epoch = "5f1e6f35ce265273";
const secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const other = secret.replace("00", "ff");

const sized = (text) => Buffer.concat([Buffer.of(Buffer.byteLength(text)), Buffer.from(text)]);
function be64(number) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}

/** The payload of a record as a server seals it. */
function box(place, content, how = {}) {
  const { form = 0, kid = "k1", hex = secret, salt = Buffer.alloc(16, 7) } = how;
  const { topic, offset, key = "" } = place;
  const derived = hkdfSync("sha256", Buffer.from(hex, "hex"), salt, `ringcast seal v1 ${kid}`, 32);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", Buffer.from(derived), nonce);
  cipher.setAAD(Buffer.concat([Buffer.from("RCS1"), sized(kid), sized(topic), sized(key),
    be64(`0x${place.epoch ?? epoch}`), be64(offset)]));
  const text = Buffer.concat([cipher.update(Buffer.of(form)), cipher.update(content),
    cipher.final()]);
  const data = Buffer.concat([salt, nonce, text, cipher.getAuthTag()]).toString("base64url");
  return { sealed: { v: 1, alg: "A256GCM", kid, data } };
}

/** A record whose payload is sealed for its own place, unless told. */
function put(socket, offset, payload, { key, at = {}, ...how } = {}) {
  const place = { topic: "t", offset, key, ...at };
  socket.record("t", offset, { key, payload: box(place, JSON.stringify(payload), how) });
}

function subscribed(options = {}, answer = {}, subscribe = {}) {
  const keys = { k1: secret };
  const w = world({ wrap: (WebSocket) => sealed({ keys, WebSocket, ...options }) });
  const subscription = w.client.subscribe("t", null, subscribe);
  const log = logOf(subscription);
  w.socket.accept();
  w.socket.subscribed("t", { epoch, offset: 0, ...answer });
  return { w, subscription, log, codes: () => w.errors.map(({ code }) => code) };
}

/** WebCrypto works elsewhere: until there are so many events. */
async function until(log, count) {
  for (let turns = 0; log.length < count && turns < 1_000_000; turns++) await settled();
  await settled();
}

test("sealed: records come out as they were published, in order, between others", async () => {
  const { w, subscription, log } = subscribed();
  put(w.socket, 1, { a: [1, "\u20ac"] });
  w.socket.record("t", 2, { payload: "plain" });
  put(w.socket, 3, null, { salt: Buffer.alloc(16, 8) });
  for (let offset = 4; offset <= 100; offset++) put(w.socket, offset, offset);
  w.socket.record("t", 101, { payload: { sealed: "by its publisher" } });
  await until(log, 101);
  const numbers = Array.from({ length: 97 }, (_, i) => i + 4);
  assert.deepEqual(log,
    [{ a: [1, "\u20ac"] }, "plain", null, ...numbers, { sealed: "by its publisher" }]);
  assert.deepEqual(subscription.position, { offset: 101, epoch });
  assert.deepEqual(w.errors, []);
});

test("sealed: text and binary are what they were", async () => {
  const { w, log } = subscribed();
  const place = { topic: "t" };
  const bytes = Buffer.from([0, 1, 254, 255]);
  w.socket.record("t", 1, { payload: box({ ...place, offset: 1 }, "no \"JSON\"", { form: 1 }) });
  w.socket.record("t", 2, { payload: box({ ...place, offset: 2 }, bytes, { form: 2 }) });
  w.socket.record("t", 3, { payload: box({ ...place, offset: 3 }, "1e400", { form: 0 }) });
  await until(log, 3);
  assert.deepEqual(log, ["no \"JSON\"", new Uint8Array(bytes), Infinity]);
});

test("sealed: what was changed, or belongs elsewhere, is told and does not come", async () => {
  const rows = [
    { hex: other }, { at: { offset: 1 } }, { at: { topic: "u" } }, { at: { key: "k" } },
    { at: { epoch: "5f1e6f35ce265274" } }, { kid: "k2" }, { form: 3 },
  ];
  const { w, log, codes } = subscribed();
  rows.forEach((row, i) => put(w.socket, i + 2, i, row));
  const good = box({ topic: "t", offset: 9 }, "1");
  for (const [i, at] of [0, 20, 40, 60].entries()) { // salt, nonce, text, tag
    const { data } = box({ topic: "t", offset: 9 + i }, "1").sealed;
    const letter = data[at] === "A" ? "B" : "A";
    const changed = data.slice(0, at) + letter + data.slice(at + 1);
    w.socket.record("t", 9 + i, { payload: { sealed: { ...good.sealed, data: changed } } });
  }
  for (const [i, data] of ["", "AAAA", "!", data_of(46)].entries()) {
    w.socket.record("t", 13 + i, { payload: { sealed: { ...good.sealed, data } } });
  }
  put(w.socket, 17, "good");
  await until(log, 16);
  assert.deepEqual(log, [...Array.from({ length: 15 }, (_, i) =>
    `gap ${i === 0 ? 1 : i + 2}-${i + 2} sealed`), "good"]);
  assert.deepEqual(codes(), Array(15).fill("sealed"));
  assert.match(w.errors[0].message, /^record 2 of t cannot be opened: it is not what was sealed/);
  assert.match(w.errors[5].message, /the key k2 is not here/);
});

const data_of = (size) => Buffer.alloc(size).toString("base64url");

test("sealed: keys are looked for when met, and again when they were not there", async () => {
  const asked = [];
  const found = new Map();
  const { w, log } = subscribed({
    keys: async (id, topic) => {
      asked.push([id, topic]);
      await settled();
      return found.get(id);
    },
  });
  put(w.socket, 1, 1, { kid: "new" });
  await until(log, 1);
  found.set("new", new Uint8Array(Buffer.from(secret, "hex")));
  for (let offset = 2; offset <= 9; offset++) put(w.socket, offset, offset, { kid: "new" });
  await until(log, 9);
  assert.deepEqual(log, ["gap 1-1 sealed", 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(asked, [["new", "t"], ["new", "t"]]);
});

test("sealed: a key need not leave the browser's keeping", async () => {
  const key = await crypto.subtle.importKey(
    "raw", Buffer.from(secret, "hex"), "HKDF", false, ["deriveKey"]);
  const { w, log } = subscribed({ keys: { k1: key } });
  put(w.socket, 1, "x");
  await until(log, 1);
  assert.deepEqual(log, ["x"]);
});

test("sealed: where it is required nothing else is taken", async () => {
  const { w, log, codes } = subscribed({ required: (topic) => topic === "t" });
  w.socket.record("t", 1, { payload: "forged" });
  put(w.socket, 2, 2);
  await until(log, 2);
  assert.deepEqual(log, ["gap 1-1 sealed", 2]);
  assert.deepEqual(codes(), ["sealed"]);
});

test("sealed: a keyed topic has its values, and no record another's key", async () => {
  const { w, subscription, log } =
    subscribed({}, { keyed: true, snapshot: true, head: 3 }, { state: true });
  put(w.socket, 2, 1, { key: "a" });
  put(w.socket, 3, 2, { key: "b" });
  await until(log, 3);
  assert.deepEqual(Object.fromEntries(subscription.state), { a: 1, b: 2 });
  put(w.socket, 4, null, { key: "a" });
  put(w.socket, 5, 9, { key: "b", at: { key: "a" } });
  await until(log, 5);
  assert.deepEqual(Object.fromEntries(subscription.state), { b: 2 });
  assert.deepEqual(log.slice(3), [["a", null], "gap 5-5 sealed"]);
});

test("sealed: history is opened, too, and what cannot be is left out", async () => {
  const { w, codes } = subscribed();
  const fate = fateOf(w.client.history("t"));
  const { id } = w.socket.of("history")[0];
  const record = (offset, how) => ({ type: "data_update", topic: "t", offset, id: "", timestamp: 1,
    payload: box({ topic: "t", offset }, String(offset), how) });
  w.socket.deliver({ type: "history", id, topic: "t", payload: { epoch, first: 1, next: 4,
    more: false, records: [record(1), record(2, { hex: other }), record(3)] } });
  for (let turns = 0; fate.state === "pending" && turns < 1_000_000; turns++) await settled();
  assert.deepEqual(fate.value.records.map(({ payload }) => payload), [1, 3]);
  assert.deepEqual(codes(), ["sealed"]);
});

test("sealed: the end of a connection waits for what came before it", async () => {
  const { w, subscription, log } = subscribed();
  put(w.socket, 1, "last");
  w.socket.drop();
  assert.equal(w.client.state.state, "connected");
  await until(log, 1);
  assert.deepEqual(log, ["last"]);
  assert.deepEqual(subscription.position, { offset: 1, epoch });
  assert.equal(w.client.state.state, "waiting");
});

test("sealed: what is not from the server is left to the client", async () => {
  const { w, codes } = subscribed({ required: () => true });
  w.socket.onmessage({ data: "no \"sealed\" JSON" });
  w.socket.onmessage({ data: new ArrayBuffer(1) });
  await settled();
  assert.deepEqual(codes(), ["bad_message", "bad_message"]);
});
