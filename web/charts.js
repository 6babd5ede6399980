// The four charts of the host: what each shows of its topic, and how it is drawn. The time without
// a connection is shaded: what the line does there was made up for.

import { Window, bytes, count, mean, percent } from "./figures.js";

const span_s = 60;
const cores_max = 32; // more lines than that are a grey block
const powers_of_two = Array.from({ length: 50 }, (_, power) => 2 ** power);
const by_id = (id) => document.getElementById(id);

// One row a chart: what it shows of its topic's payload. `lines` are drawn, the last ones in colour
// and any before `colors` faintly; `figure` and `note` are the words above.
export const charts = [
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

export class Chart {
  // `away`: [from, to] of each loss of the connection, in seconds since 1970.
  constructor(row, away) {
    this.row = row;
    this.away = away;
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

  // Here the line is broken: nobody knows how it went.
  gap() {
    this.samples?.interrupt();
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
      hooks: { drawClear: [(plot) => this.#shade(plot)] },
    }, this.samples.columns, this.place);
  }

  #shade(plot) {
    const { ctx, bbox } = plot;
    const newest = this.samples.columns[0].at(-1);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = color("--grid")();
    for (const [from, to] of this.away) {
      const left = plot.valToPos(from, "x", true);
      const right = plot.valToPos(to ?? newest, "x", true);
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.restore();
  }
}
