// The package as it is published: sizes, types, the script for pages without modules.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { gzipSync } from "node:zlib";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const description = JSON.parse(readFileSync(`${root}/package.json`));

test("package: each file is at most 6 KiB gzipped", () => {
  for (const name of ["ringcast.js", "ringcast.global.js", "sealed.js"]) {
    const size = gzipSync(readFileSync(`${root}/dist/${name}`), { level: 9 }).length;
    assert.ok(size <= 6 * 1024, `${name}: ${size} bytes`);
  }
});

test("package: what it points to is there, and it needs nothing else", () => {
  const { types, default: module } = description.exports["."];
  const sealed = description.exports["./sealed"];
  for (const path of [types, module, sealed.types, sealed.default,
    description.exports["./ringcast.global.js"], description.types,
    description.unpkg, description.jsdelivr, "README.md", "LICENSE"]) {
    assert.ok(existsSync(join(root, path)), path);
  }
  assert.equal(description.dependencies, undefined);
  for (const version of Object.values(description.devDependencies)) {
    assert.match(version, /^\d+\.\d+\.\d+$/);
  }
});

test("package: the script leaves one global behind, which works", () => {
  const page = vm.createContext({ URL, setTimeout, clearTimeout, performance });
  const before = Object.keys(page);
  vm.runInContext(readFileSync(`${root}/dist/ringcast.global.js`, "utf8"), page);
  assert.deepEqual(Object.keys(page).filter((name) => !before.includes(name)), ["Ringcast"]);
  assert.deepEqual(Object.keys(page.Ringcast).sort(), ["RingcastError", "connect"]);
  const urls = [];
  const client = page.Ringcast.connect("ws://h/ws", {
    WebSocket: class { constructor(url) { urls.push(url); } close() {} },
  });
  client.close();
  assert.deepEqual(urls, ["ws://h/ws"]);
});

// What a user writes, and what the compiler must refuse.
const use = `
import { RingcastError, connect } from "ringcast";
import type { Gap, Message, Position, State } from "ringcast";
import { sealed } from "ringcast/sealed";

const client = connect("ws://h/ws", { token: async () => "t", queueMax: 3 });
const place: Promise<Position> = client.publish("t", { any: ["thing"] }, { ack: true, timeout: 5 });
const sent: Promise<Position | undefined> = client.publish("t", null, { key: "k" });
const prices = client.subscribe<{ price: number }>("p", (m: Message<{ price: number }>) => {
  const price: number = m.payload.price;
}, { state: true });
const price: number | undefined = prices.state?.get("k")?.price;
const off: () => void = prices.on("gap", (gap: Gap) => gap.to - gap.from);
for await (const { payload } of prices) payload.price.toFixed();
client.on("state", (state: State) => state.state === "waiting" && state.retryMs);
client.on("error", (error: RingcastError) => error.code === "closed" && error.closeCode);
connect("ws://h/ws", { WebSocket: sealed({ keys: { a: "00", b: new Uint8Array(32) } }) });
const find = async (id: string) => id;
connect("ws://h/ws", { WebSocket: sealed({ keys: find, required: () => true }) });
// @ts-expect-error there are no keys
sealed({});
const { records } = await client.history<number>("t", { from: 1 });
const old: number[] = records.map((record) => record.payload);
// @ts-expect-error no such event
client.on("nothing", () => {});
// @ts-expect-error the payload is unknown
client.subscribe("t", (m) => m.payload.price);
// @ts-expect-error not for users
client.failed_(1);
`;

test("package: the types say what may be done, with and without those of browsers", () => {
  const folder = mkdtempSync(join(root, "dist", "types-"));
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  try {
    writeFileSync(join(folder, "use.mts"), use);
    for (const lib of ["ES2022", "ES2022,DOM"]) {
      execFileSync(process.execPath, [tsc, "--noEmit", "--strict", "--target", "es2022", "--module",
        "nodenext", "--lib", lib, join(folder, "use.mts")], { cwd: root, stdio: "pipe" });
    }
  } catch (error) {
    assert.fail(String(error.stdout ?? error));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
