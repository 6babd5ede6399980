// The topic `prices`, where the server keeps the latest record of each key: a table, no faster than
// one can read. On a server that does not, the page shows nothing of it.

const topic = "prices";
const rows_max = 200;
const by_id = (id) => document.getElementById(id);

export function show_prices(client) {
  const rows = new Map(); // key: the row's cells
  let prices;

  const subscribe = () => {
    const max_rate = Number(by_id("prices-rate").value) || undefined;
    prices = client.subscribe(topic, update, { state: true, maxRate: max_rate });
    prices.on("snapshot", ({ state }) => {
      for (const key of rows.keys()) if (!state.has(key)) remove(key);
      for (const [key, value] of state) show(key, value);
    });
    prices.on("error", () => { by_id("prices").hidden = true; }); // a rate is for topics with keys
    prices.on("subscribed", ({ keyed }) => {
      by_id("prices").hidden = !keyed;
      if (!keyed) prices.unsubscribe(); // nobody here keeps prices
    });
  };
  const update = ({ key, payload }) => {
    if (key === undefined) return;
    if (payload === null) remove(key);
    else show(key, payload);
  };
  const remove = (key) => {
    rows.get(key)?.row.remove();
    rows.delete(key);
  };
  const show = (key, value) => {
    if (!rows.has(key) && rows.size >= rows_max) return;
    const { cell } = rows.get(key) ?? add(key);
    cell.textContent = typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  const add = (key) => {
    const row = by_id("prices-rows").insertRow();
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = key;
    row.append(name);
    rows.set(key, { row, cell: row.insertCell() });
    return rows.get(key);
  };

  by_id("prices-rate").addEventListener("change", () => {
    prices.unsubscribe();
    subscribe();
  });
  subscribe();
}
