// node --test web/*.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { Rate, Window, bytes, count, percent } from "./figures.js";

test("window: holds the last seconds, and starts over when the clock goes back", () => {
  const w = new Window(10, 2);
  for (let t = 0; t < 30; t += 1) w.push(t, [t, -t]);
  assert.deepEqual(w.columns[0], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  assert.equal(w.columns[2].length, 10);
  w.push(5, [1, 2]);
  assert.deepEqual(w.columns, [[5], [1], [2]]);
});

test("window: an interruption is one hole, and no sample", () => {
  const w = new Window(10, 2);
  w.interrupt();
  assert.deepEqual(w.columns, [[], [], []]);
  w.push(1, [5, 6]);
  w.interrupt();
  w.interrupt();
  w.push(2, [7, 8]);
  assert.deepEqual(w.columns[1], [5, null, 7]);
  assert.deepEqual(w.columns[2], [6, null, 8]);
  assert.ok(w.columns[0][0] < w.columns[0][1] && w.columns[0][1] < w.columns[0][2]);
});

test("rate: what happened in the last two whole seconds, and what there is before that", () => {
  const rate = new Rate();
  assert.equal(rate.per_s(5000), 0);
  for (let i = 0; i < 7; i += 1) rate.count(5100);
  assert.equal(rate.per_s(5200), 7);
  for (let i = 0; i < 3; i += 1) rate.count(6900);
  assert.equal(rate.per_s(6950), 7);
  assert.equal(rate.per_s(7000), 5);
  assert.equal(rate.per_s(8500), 1.5);
  assert.equal(rate.per_s(99000), 0);
});

test("figures read well", () => {
  assert.deepEqual([0, 1023, 1024, 150 * 1024, 2 ** 40].map(bytes),
    ["0 B", "1023 B", "1.0 KiB", "150 KiB", "1.0 TiB"]);
  assert.deepEqual([0, 9999, 12345, 2.5e6].map(count), ["0", "9999", "12.3 k", "2.5 M"]);
  assert.equal(percent(0.256), "26 %");
});
