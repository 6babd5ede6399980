// Walks through the demo page in headless Chromium and prints a line of JSON after each step.
//   node page.mjs CHROMIUM URL
import { launch, patience, say as write } from "./browser.mjs";

const [executablePath, url] = process.argv.slice(2);
const say = (step) => write({ step });

const browser = await launch(executablePath);
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });

  await page.goto(url, patience);
  await page.waitForSelector("#state[data-state=connected]", patience);
  say("connected");

  for (const name of ["cpu", "memory", "network", "server"]) {
    await page.waitForSelector(`#${name}-chart canvas`, patience);
    await page.waitForFunction((id) => /\d/.test(document.getElementById(id).textContent),
      `${name}-figure`, patience);
  }
  await page.waitForFunction(() => /\d/.test(document.getElementById("round-trip").textContent),
    undefined, patience);
  await page.waitForFunction(() => {
    const image = document.querySelector("#cpu-chart canvas").toDataURL();
    if (image === window.first_image) return false;
    const is_second = window.first_image !== undefined;
    window.first_image = image;
    return is_second;
  }, undefined, patience);
  say("charts");

  await page.fill("#chat-text", "hello <b>everyone</b>");
  await page.press("#chat-text", "Enter");
  say("published");

  const line = page.locator("#messages li span");
  await line.waitFor(patience);
  if (await line.textContent() !== "hello <b>everyone</b>") throw new Error("shown as markup");
  if (await page.inputValue("#chat-text") !== "") throw new Error("the text box was not emptied");
  if (errors.length > 0) throw new Error(errors.join("\n"));
  say("shown");

  // Made-up prices: at one batch a second most changes are superseded, and not sent; without a rate
  // all of them come. Now and then one is sold out.
  const prices = (name) => page.locator(`#prices-${name}`).textContent().then(Number);
  const rows = () => page.locator("#prices-rows tr").count();
  const until = async (what, test) => {
    for (const end = Date.now() + patience.timeout; !await test();) {
      if (Date.now() > end) throw new Error(`${what}: never`);
      await page.waitForTimeout(100);
    }
  };
  await page.waitForSelector("#prices", patience);
  await until("the table is full", async () => await rows() >= 39);
  await until("changes are superseded", async () => await prices("superseded") > 200);
  await until("changes come", async () => await prices("received") > 10);
  if (!/^[\d.,]+$/.test(await page.locator("#prices-rows td").first().textContent())) {
    throw new Error("no price");
  }
  say("prices");
  // A browser on a busy machine is slow itself, so some may be superseded again at once.
  const before = await prices("superseded");
  await page.selectOption("#prices-rate", "");
  await until("it begins anew", async () => await prices("superseded") < before);
  await until("all changes come", async () => await prices("received") > 100);
  await until("one is sold out", async () => await rows() === 39);
  const names = await page.locator("#prices-rows th").allTextContents();
  if (names.join() !== [...names].sort().join()) throw new Error(`order: ${names}`);
  await page.selectOption("#prices-rate", "10");
  await until("changes are superseded again", async () => await prices("superseded") > 0);
  say("rates");
  if (errors.length > 0) throw new Error(errors.join("\n"));

  // The connection is cut: what the charts missed comes after all.
  const figure = async (name) => Number(await page.textContent(`#recovery-${name}`));
  const recovered = async () => {
    await page.waitForFunction(() =>
      document.getElementById("recovery-outcome").dataset.outcome === "recovered"
      && Number(document.getElementById("recovery-made_up").textContent) > 0, undefined, patience);
  };
  await page.selectOption("#cut-span", "0");
  await page.click("#cut button");
  await recovered();
  await page.waitForSelector("#state[data-state=connected]", patience);
  if (await figure("losses") !== 1) throw new Error("one loss");
  say("recovered");

  // Longer; and of the topic to talk on nothing is kept, so that is told.
  await page.selectOption("#cut-span", "5");
  await page.click("#cut button");
  await page.waitForSelector("#recovery-outcome[data-outcome=away]", patience);
  say("away");
  await page.locator("#messages li.notice", { hasText: "were missed" }).waitFor(patience);
  await recovered();
  // Four topics, ten times a second, five seconds, at the least half of it on a busy machine.
  await page.waitForFunction(() =>
    Number(document.getElementById("recovery-made_up").textContent) > 100, undefined, patience);
  const sums = [await figure("losses"), await figure("told"), await figure("missing")];
  if (sums.join() !== "2,0,0") throw new Error(`losses, told, missing: ${sums}`);
  if (!await page.isVisible("#prices") || await rows() < 39) throw new Error("prices are gone");
  if (errors.length > 0) throw new Error(errors.join("\n"));
  say("recovered again");

  // A page of nobody's tries the same address; it can see no more than that it failed.
  const stranger = await browser.newPage();
  const outcome = await stranger.evaluate((address) => new Promise((resolve) => {
    const socket = new WebSocket(address);
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
  }), `${url.replace("http", "ws")}ws`);
  if (outcome !== "refused") throw new Error(`a stranger's page: ${outcome}`);
  say("stranger refused");

  // From here on the browser itself logs that connecting fails.
  await page.waitForSelector("#state[data-state=waiting]", patience);
  say("disconnected");
  if (errors.some((text) => !text.includes("WebSocket"))) throw new Error(errors.join("\n"));
  say("no errors");
} finally {
  await browser.close();
}
