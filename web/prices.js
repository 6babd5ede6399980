// The topic `demo.prices`, where the server keeps the latest record of each key: a table, no faster
// than one can read. The prices are made up, by the server with --dev. Where it keeps none, the
// page shows nothing of them.

import { Rate } from "./figures.js";

const topic = "demo.prices";
const rows_max = 200;
const by_id = (id) => document.getElementById(id);
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export function show_prices(client) {
  const rows = new Map(); // key: the row's cells
  let prices;
  let received;
  let superseded;
  let last; // offset

  const subscribe = () => {
    const max_rate = Number(by_id("prices-rate").value) || undefined;
    received = new Rate();
    superseded = 0;
    last = undefined;
    prices = client.subscribe(topic, update, { state: true, maxRate: max_rate });
    prices.on("snapshot", ({ state, offset }) => {
      for (const key of rows.keys()) if (!state.has(key)) remove(key);
      for (const [key, value] of state) show(key, value);
      last = offset; // what the snapshot left out is no change that came too fast
    });
    prices.on("error", () => { by_id("prices").hidden = true; }); // a rate is for topics with keys
    prices.on("subscribed", ({ keyed }) => {
      by_id("prices").hidden = !keyed;
      if (!keyed) prices.unsubscribe(); // nobody here keeps prices
    });
  };
  const update = ({ key, payload, offset }) => {
    if (key === undefined) return;
    if (payload === null) remove(key);
    else show(key, payload);
    if (last === undefined || offset <= last) return;
    received.count(performance.now());
    superseded += offset - last - 1;
    last = offset;
  };
  const remove = (key) => {
    rows.get(key)?.row.remove();
    rows.delete(key);
  };
  const show = (key, value) => {
    if (!rows.has(key) && rows.size >= rows_max) return;
    const { price, change } = rows.get(key) ?? add(key);
    price.textContent = money.format(value?.price);
    const sign = value?.change < 0 ? "\u2212" : "+";
    change.textContent = sign + money.format(Math.abs(value?.change));
    change.dataset.sign = Math.sign(value?.change);
  };
  const add = (key) => {
    // In the order of names, so that nothing jumps when one is sold out and comes again.
    const after = [...rows.keys()].filter((name) => name > key).sort()[0];
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = key;
    row.append(name);
    by_id("prices-rows").insertBefore(row, rows.get(after)?.row ?? null);
    rows.set(key, { row, price: row.insertCell(), change: row.insertCell() });
    return rows.get(key);
  };

  by_id("prices-rate").addEventListener("change", () => {
    prices.unsubscribe();
    subscribe();
  });
  setInterval(() => {
    by_id("prices-received").textContent = received.per_s(performance.now()).toFixed(0);
    by_id("prices-superseded").textContent = superseded;
  }, 500);
  subscribe();
}
