// node --test web/*.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { Recovery, outcome_text } from "./recovery.js";

// The server's clock is 1000 s ahead of ours, and a record is 0.01 s on its way.
const at = (topic, offset, published_s, epoch = "e") =>
  ({ topic, offset, epoch, timestamp: published_s + 1000 });

test("recovery: counts what came after all, by the server's clock", () => {
  const recovery = new Recovery();
  for (const s of [1, 2, 3]) assert.equal(recovery.record(at("a", s, s), s + 0.01), false);
  recovery.lost(3.5);
  recovery.lost(3.6); // the same loss
  assert.ok(recovery.is_away);
  assert.equal(recovery.away_s(5.5), 2);
  recovery.back(6.5);
  assert.equal(recovery.is_away, false);
  for (const s of [4, 5, 6]) assert.equal(recovery.record(at("a", s, s), 6.6), true);
  assert.equal(recovery.record(at("a", 7, 7), 7.01), false);
  assert.deepEqual([recovery.losses, recovery.made_up, recovery.told, recovery.missing],
    [1, 3, 0, 0]);
  assert.deepEqual(recovery.away, [[3.5, 6.5]]);
  assert.equal(recovery.away_s(100), 3);
});

test("recovery: a gap is told, a hole is not", () => {
  const recovery = new Recovery();
  recovery.record(at("a", 1, 1), 1);
  recovery.gap({ topic: "a", epoch: "e", from: 2, to: 5 });
  recovery.record(at("a", 6, 6), 6);
  assert.deepEqual([recovery.told, recovery.missing], [4, 0]);
  recovery.record(at("a", 9, 9), 9);
  assert.equal(recovery.missing, 2);
  recovery.record(at("a", 1, 10, "another epoch"), 10);
  recovery.record(at("b", 77, 10), 10);
  recovery.gap({ topic: "b", epoch: "f", from: 1, to: 0 });
  assert.deepEqual([recovery.told, recovery.missing], [4, 2]);
});

test("recovery: the outcome in words", () => {
  assert.equal(outcome_text(5.24, 212, 0),
    "Back after 5.2 s: 212 records made up for, none missing.");
  assert.equal(outcome_text(0.5, 1, 0), "Back after 0.5 s: 1 record made up for, none missing.");
  assert.equal(outcome_text(400, 0, 12),
    "Back after 400.0 s: 0 records made up for, 12 records told to be gone.");
});
