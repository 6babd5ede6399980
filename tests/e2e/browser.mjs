// Headless Chromium as the tests here start it.
import { chromium } from "playwright-core";

export const patience = { timeout: 60000 };  // a first start on a busy machine takes long

export const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

export const launch = (executablePath) => chromium.launch({
  executablePath, ...patience,
  // A container's /dev/shm is often too small for a page.
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"],
});
