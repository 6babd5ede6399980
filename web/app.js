// The demo page: four charts of the host, and a topic to talk on. What other people sent reaches
// the page as text only (textContent), never as markup.

import { connect } from "./ringcast.js";
import { Window, bytes, count, mean, percent } from "./figures.js";

const span_s = 60;
const messages_max = 200;
const cores_max = 32; // more lines than that are a grey block
const powers_of_two = Array.from({ length: 50 }, (_, power) => 2 ** power);
const by_id = (id) => document.getElementById(id);

// --- Charts ---

// One row a chart: what it shows of its topic's payload. `lines` are drawn, the last ones in colour
// and any before `colors` faintly; `figure` and `note` are the words above.
const charts = [
  {
    topic: "host.cpu",
    name: "cpu",
    top: 1,
    lines: (p) => [...p.cores.slice(0, cores_max), mean(p.cores)],
    colors: ["--accent"],
    axis: percent,
    figure: (p) => percent(mean(p.cores)),
    note: (p) => `${p.cores.length} cores`,
  },
  {
    topic: "host.memory",
    name: "memory",
    top: (p) => p.total,
    lines: (p) => [p.used],
    colors: ["--accent"],
    axis: bytes,
    steps: powers_of_two,
    figure: (p) => bytes(p.used),
    note: (p) => `of ${bytes(p.total)}, ${bytes(p.available)} available`,
  },
  {
    topic: "host.network",
    name: "network",
    lines: (p) => [p.rx, p.tx],
    colors: ["--accent", "--second"],
    axis: (value) => `${bytes(value)}/s`,
    steps: powers_of_two,
    figure: (p) => `${bytes(p.rx)}/s`,
    note: (p) => `in, ${bytes(p.tx)}/s out`,
  },
  {
    topic: "host.server",
    name: "server",
    lines: (p) => [p.deliveries_per_s],
    colors: ["--accent"],
    axis: count,
    figure: (p) => `${count(p.deliveries_per_s)}/s`,
    note: (p) => `deliveries to ${count(p.connections)} connections, `
      + `${percent(p.cpu)} of a core, ${bytes(p.rss)}`,
  },
];

const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);

class Chart {
  constructor(row) {
    this.row = row;
    this.place = by_id(`${row.name}-chart`);
    this.top = typeof row.top === "number" ? row.top : 0;
    this.plot = null;
    this.samples = null;
    new ResizeObserver(() => this.plot?.setSize(this.#size())).observe(this.place);
  }

  show(payload) {
    const { row } = this;
    by_id(`${row.name}-figure`).textContent = row.figure(payload);
    by_id(`${row.name}-note`).textContent = row.note(payload);
    const values = row.lines(payload);
    if (values.length + 1 !== this.samples?.columns.length) this.#build(values.length);
    if (typeof row.top === "function") this.top = row.top(payload);
    this.samples.push(payload.t, values);
    this.dirty = true;
  }

  draw() {
    if (!this.dirty) return;
    this.dirty = false;
    this.plot.setData(this.samples.columns);
  }

  #size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  #build(line_count) {
    this.plot?.destroy();
    this.samples = new Window(span_s, line_count);
    const { colors, axis, steps } = this.row;
    const lines = Array.from({ length: line_count }, (_, index) => {
      const name = colors[index - (line_count - colors.length)];
      const points = { show: false };
      return name
        ? { stroke: color(name), fill: color(`${name}-area`), width: 1.75, points }
        : { stroke: color("--quiet"), width: 0.5, alpha: 0.5, points };
    });
    const axis_look = {
      stroke: color("--quiet"),
      grid: { stroke: color("--grid"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    const clock = (time_s) => new Date(time_s * 1000).toLocaleTimeString();
    this.plot = new window.uPlot({
      ...this.#size(),
      padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { range: (_, __, newest) => [newest - span_s, newest] },
        y: { range: (_, __, highest) => [0, this.top || (highest || 1) * 1.15] },
      },
      axes: [
        { ...axis_look, size: 26, space: 90, values: (_, ticks) => ticks.map(clock) },
        {
          ...axis_look,
          size: 74,
          space: 30,
          values: (_, ticks) => ticks.map(axis),
          ...(steps && { incrs: steps }),
        },
      ],
      series: [{}, ...lines],
    }, this.samples.columns, this.place);
  }
}

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

const client = connect("/ws", { pingIntervalMs: ping_every_ms });
const is_connected = () => client.state.state === "connected";

client.on("state", (now) => {
  by_id("state").dataset.state = now.state;
  by_id("state-text").textContent = state_words[now.state](now);
  document.querySelector("#chat button").disabled = !is_connected();
  if (!is_connected()) by_id("round-trip").textContent = "\u2013";
});

async function show_round_trip() {
  const ms = await client.ping();
  if (ms !== undefined) by_id("round-trip").textContent = `${ms.toFixed(1)} ms`;
}
setInterval(show_round_trip, ping_every_ms);

const drawn = charts.map((row) => {
  const chart = new Chart(row);
  client.subscribe(row.topic, ({ payload }) => chart.show(payload));
  return chart;
});
client.subscribe("chat", ({ payload, timestamp }) => add_line(text_of(payload), timestamp))
  .on("gap", ({ from, to }) => add_line(
    to < from ? "messages may be missing" : `messages ${from} to ${to} were missed`,
    Date.now() / 1000, true));

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
  requestAnimationFrame(draw);
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of drawn) chart.plot?.redraw(false, true);
});
