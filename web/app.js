// The demo page: four charts of the host, a connection to cut, prices where there are any, and a
// topic to talk on. What other people sent reaches the page as text only (textContent), never as
// markup.

import { connect } from "./ringcast.js";
import { Chart, charts } from "./charts.js";
import { CuttableSocket, cut } from "./outage.js";
import { show_prices } from "./prices.js";
import { Recovery, outcome_text } from "./recovery.js";

const messages_max = 200;
const by_id = (id) => document.getElementById(id);
const now_s = () => Date.now() / 1000;

// --- Messages ---

const list = by_id("messages");

function add_line(text, time_s, is_notice = false) {
  const was_at_end = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const line = document.createElement("li");
  const time = document.createElement("time");
  const words = document.createElement("span");
  const at = new Date(time_s * 1000);
  time.dateTime = at.toISOString();
  time.textContent = at.toLocaleTimeString();
  words.textContent = text;
  line.className = is_notice ? "notice" : "";
  line.append(time, words);
  list.append(line);
  while (list.childElementCount > messages_max) list.firstElementChild.remove();
  if (was_at_end) list.scrollTop = list.scrollHeight;
}

// Anyone may publish anything there: a string, {text}, or what have you.
function text_of(payload) {
  if (typeof payload === "string") return payload;
  if (typeof payload?.text === "string") return payload.text;
  return JSON.stringify(payload);
}

// --- The connection ---

const ping_every_ms = 2000;
const state_words = {
  connecting: () => "connecting",
  connected: () => "connected",
  waiting: ({ retryMs }) => `connection lost, next attempt in ${(retryMs / 1000).toFixed(1)} s`,
  closed: ({ reason, closeCode }) => `closed by the server (${reason || `code ${closeCode}`})`,
};

const client = connect("/ws", { pingIntervalMs: ping_every_ms, WebSocket: CuttableSocket });
const is_connected = () => client.state.state === "connected";

client.on("state", (now) => {
  by_id("state").dataset.state = now.state;
  by_id("state-text").textContent = state_words[now.state](now);
  document.querySelector("#chat button").disabled = !is_connected();
  if (!is_connected()) by_id("round-trip").textContent = "\u2013";
  if (now.state === "waiting") lost();
  if (is_connected()) back();
});

async function show_round_trip() {
  const ms = await client.ping();
  if (ms !== undefined) by_id("round-trip").textContent = `${ms.toFixed(1)} ms`;
}
setInterval(show_round_trip, ping_every_ms);

// --- Losing it, and what comes of that ---

const recovery = new Recovery();
let before = { made_up: 0, told: 0 }; // when the last loss began
let recovery_changed = false;

function lost() {
  if (!recovery.is_away) before = { made_up: recovery.made_up, told: recovery.told };
  recovery.lost(now_s());
  recovery_changed = true;
}

function back() {
  recovery.back(now_s());
  recovery_changed = true;
}

function show_recovery() {
  if (!recovery_changed && !recovery.is_away) return;
  recovery_changed = false;
  for (const name of ["losses", "made_up", "told", "missing"]) {
    by_id(`recovery-${name}`).textContent = recovery[name];
  }
  if (recovery.losses === 0) return;
  const away_s = recovery.away_s(now_s());
  const told = recovery.told - before.told;
  const outcome = by_id("recovery-outcome");
  outcome.dataset.outcome = recovery.is_away ? "away" : told > 0 ? "gap" : "recovered";
  outcome.textContent = recovery.is_away
    ? `Without a connection for ${away_s.toFixed(1)} s \u2026`
    : outcome_text(away_s, recovery.made_up - before.made_up, told);
}

by_id("cut").addEventListener("submit", (event) => {
  event.preventDefault();
  cut(1000 * Number(by_id("cut-span").value));
});

const drawn = charts.map((row) => {
  const chart = new Chart(row, recovery.away);
  client.subscribe(row.topic, (message) => {
    chart.show(message.payload);
    recovery.record(message, now_s());
    recovery_changed = true;
  }).on("gap", (gap) => {
    chart.gap();
    recovery.gap(gap);
    recovery_changed = true;
  });
  return chart;
});

show_prices(client);

client.subscribe("chat", ({ payload, timestamp }) => add_line(text_of(payload), timestamp))
  .on("gap", ({ from, to }) => add_line(
    to < from ? "messages may be missing" : `messages ${from} to ${to} were missed`,
    now_s(), true));

by_id("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!is_connected()) return; // stale words help nobody: they stay in the box
  const box = by_id("chat-text");
  client.publish("chat", { text: box.value });
  box.value = "";
});
by_id("command").textContent = `ringcast pub chat '{"text":"hello"}' --url ws://${location.host}`;

// Drawing is tied to the screen, not to the data: a page in the background draws nothing.
requestAnimationFrame(function draw() {
  for (const chart of drawn) chart.draw();
  show_recovery();
  requestAnimationFrame(draw);
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of drawn) chart.plot?.redraw(false, true);
});
