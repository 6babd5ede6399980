// Opens the demo page in headless Chromium and stays: prints a line of JSON when it is connected,
// and with each line on stdin one with how many of its WebSockets were opened, how many of them
// closed, and what the last message of them was.
//   node stay.mjs CHROMIUM URL
import { createInterface } from "node:readline";
import { launch, patience, say } from "./browser.mjs";

const [executablePath, url] = process.argv.slice(2);
const browser = await launch(executablePath);
try {
  const page = await browser.newPage();
  const sockets = { opened: 0, closed: 0, messages: 0 };
  page.on("websocket", (socket) => {
    sockets.opened++;
    socket.on("close", () => { sockets.closed++; });
    socket.on("framereceived", () => { sockets.messages++; });
  });
  await page.goto(url, patience);
  await page.waitForSelector("#state[data-state=connected]", patience);
  say({ state: "connected" });
  for await (const _ of createInterface({ input: process.stdin })) {
    say({ state: await page.getAttribute("#state", "data-state"), ...sockets });
  }
} finally {
  await browser.close();
}
