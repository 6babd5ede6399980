// Numbers as people read them, and the window of samples behind a chart.

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

export function count(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return String(Math.round(value));
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

export function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

// How often something happened a second, of late: counted in seconds, and told of the last two that
// are over, since batches may come once a second.
export class Rate {
  #counts = [];  // by second, the last three
  #second;  // of the newest

  count(now_ms) {
    this.#move(now_ms);
    this.#counts[0] += 1;
  }

  per_s(now_ms) {
    this.#move(now_ms);
    const over = this.#counts.slice(1);
    return mean(over.length ? over : this.#counts);
  }

  #move(now_ms) {
    const second = Math.floor(now_ms / 1000);
    if (this.#second === undefined) {
      this.#second = second;
      this.#counts = [0];
    }
    this.#second = Math.max(this.#second, second - 3);
    for (; this.#second < second; this.#second += 1) {
      this.#counts.unshift(0);
      this.#counts.length = Math.min(this.#counts.length, 3);
    }
  }
}

// The samples of the last `span_s` seconds, in columns: [times, first series, second series, ...].
export class Window {
  constructor(span_s, series_count) {
    this.span_s = span_s;
    this.columns = Array.from({ length: series_count + 1 }, () => []);
  }

  push(time_s, values) {
    const times = this.columns[0];
    // A clock that was set back would draw lines backwards: begin anew.
    if (times.length && time_s <= times[times.length - 1]) {
      this.columns.forEach((column) => { column.length = 0; });
    }
    [time_s, ...values].forEach((value, index) => this.columns[index].push(value));
    this.#drop_stale(time_s);
  }

  // What comes next is not joined to what was.
  interrupt() {
    const times = this.columns[0];
    if (times.length === 0 || this.columns[1].at(-1) === null) return;
    times.push(times.at(-1) + 1e-6);
    this.columns.slice(1).forEach((column) => column.push(null));
  }

  #drop_stale(time_s) {
    const times = this.columns[0];
    const stale = times.findIndex((time) => time > time_s - this.span_s);
    if (stale > 0) this.columns.forEach((column) => column.splice(0, stale));
  }
}
