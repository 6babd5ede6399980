// npm ws, driven by lines of JSON: what to do comes on stdin, what happened goes to stdout.
//   node client.mjs URL [sub-protocol...]   (with DEFLATE=1 around it, it offers compression)
//   in:  {"text": T} {"binary": base64} {"ping": T} {"close": code} {"extensions": true}
//   out: {"event": "open" | "message" | "pong" | "close" | "error", ...}
import { createInterface } from "node:readline";

import { WebSocket } from "ws";

const [url, ...protocols] = process.argv.slice(2);
const perMessageDeflate = process.env.DEFLATE === "1" ? { threshold: 0 } : false;
const socket = new WebSocket(url, protocols, { perMessageDeflate });
const say = (event, rest = {}) => process.stdout.write(`${JSON.stringify({ event, ...rest })}\n`);

socket.on("open", () => say("open"));
socket.on("message", (data, is_binary) =>
  say("message", is_binary ? { binary: data.toString("base64") } : { text: data.toString() }));
socket.on("pong", (data) => say("pong", { data: data.toString() }));
socket.on("error", (error) => say("error", { message: error.message }));
socket.on("close", (code) => say("close", { code }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if ("text" in command) socket.send(command.text);
    if ("binary" in command) socket.send(Buffer.from(command.binary, "base64"));
    if ("ping" in command) socket.ping(command.ping);
    if ("close" in command) socket.close(command.close);
    if ("extensions" in command) say("extensions", { names: socket.extensions });
  })
  .on("close", () => socket.terminate());
