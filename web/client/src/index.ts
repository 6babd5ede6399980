/**
 * Client of the ringcast fan-out server.
 *
 * @module
 */
export { connect } from "./client.js";
export type {
  Client, ClientEvents, ClientOptions, History, HistoryOptions, PublishOptions,
} from "./client.js";
export type { Limits, State } from "./connection.js";
export type { Emitter, Off } from "./emitter.js";
export { RingcastError } from "./errors.js";
export type { ClientErrorCode, ErrorDetails } from "./errors.js";
export type { SocketConstructor, SocketLike, Surroundings } from "./surroundings.js";
export type { SubscribeOptions, Subscription } from "./subscription.js";
export type { Gap, Snapshot, Subscribed, SubscriptionEvents, TopicView } from "./topic.js";
export type { Message, Position } from "./wire.js";
