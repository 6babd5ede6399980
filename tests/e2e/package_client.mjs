// The client package (web/client) over npm ws, driven by lines of JSON: what to do comes on stdin,
// what happened goes to stdout.
//   node package_client.mjs URL [options of connect as JSON]      RINGCAST_CLIENT: its ringcast.js
//        and "sealed": {"keys": {}, "required": true} for the module beside it
//   in:  arrays of {"subscribe": filter, "options": {}, "failures": N} {"unsubscribe": filter}
//        {"publish": topic, "payload": P, "options": {}} {"history": topic, "options": {}}
//        {"drop": true} {"close": true}
//        failures: how many messages a listener fails at, first
//        {"token": T} answers the event "token", if the option "tokens" is true
//   out: {"event": "state" | "error" | "resolved" | "rejected" | an event of a subscription, ...}
import { createInterface } from "node:readline";

import { WebSocket } from "ws";

const { connect } = await import(process.env.RINGCAST_CLIENT);
const [url, options = "{}"] = process.argv.slice(2);
const say = (event, rest) => process.stdout.write(`${JSON.stringify({ event, ...rest })}\n`);

let socket; // the newest
class Socket extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { perMessageDeflate: false });
    socket = this;
  }
}

const { tokens, sealed: sealing, ...others } = JSON.parse(options);
let give;
const token = tokens && (() => new Promise((resolve) => {
  give = resolve;
  say("token");
}));
let Outer = Socket;
if (sealing) {
  const { sealed } = await import(process.env.RINGCAST_CLIENT.replace(/[^/]*$/, "sealed.js"));
  const required = sealing.required ? () => true : undefined;
  Outer = sealed({ keys: sealing.keys, WebSocket: Socket, ...required && { required } });
}
const client = connect(url, { WebSocket: Outer, token, ...others });
const subscriptions = new Map();
client.on("state", (state) => say("state", state));
client.on("error", ({ code, topic }) => say("error", { code, topic }));

function settle(promise) {
  promise.then((value) => say("resolved", { value }),
    ({ code, uncertain }) => say("rejected", { code, uncertain }));
}

function run(command) {
  if ("subscribe" in command) {
    const subscription = client.subscribe(command.subscribe, null, command.options);
    subscriptions.set(command.subscribe, subscription);
    for (const name of ["subscribed", "recovered", "gap", "message", "snapshot"]) {
      subscription.on(name, (event) => say(name, event));
    }
    let failures = command.failures ?? 0;
    subscription.on("message", async () => {
      if (failures-- > 0) throw new Error("not now");
    });
  }
  if ("unsubscribe" in command) subscriptions.get(command.unsubscribe).unsubscribe();
  if ("publish" in command) {
    settle(client.publish(command.publish, command.payload, command.options));
  }
  if ("history" in command) settle(client.history(command.history, command.options));
  if ("token" in command) give(command.token);
  if ("drop" in command) socket.terminate(); // no close frame: the network is gone
  if ("close" in command) client.close();
}

createInterface({ input: process.stdin })
  .on("line", (line) => JSON.parse(line).forEach(run))
  .on("close", () => client.close());
