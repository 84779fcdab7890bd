// The official SDK as the tests use it: over the `ws` package, reconnecting fast, and watched.

import assert from "node:assert/strict";
import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";

/** Far above what a loaded machine needs: a test that reaches it fails instead of hanging. */
const DEADLINE_MS = 20_000;

/** Rejects if `promise` is not settled within the deadline. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE_MS} ms for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next `event` of a client or subscription, or the next that `matches`. */
export function next(emitter, event, matches = () => true) {
  const happened = new Promise((resolve) => {
    const listener = (context) => {
      if (matches(context)) {
        emitter.off(event, listener);
        resolve(context);
      }
    };
    emitter.on(event, listener);
  });
  return within(happened, `the event "${event}"`);
}

/** The next `count` contexts of `event`. */
export async function collect(emitter, event, count) {
  const contexts = [];
  await next(emitter, event, (context) => contexts.push(context) === count);
  return contexts;
}

/** Asserts that a call of the SDK fails with `code`. */
export async function failsWith(code, promise) {
  const error = await promise.then(
    () => assert.fail(`succeeded instead of failing with ${code}`),
    (error) => error,
  );
  assert.equal(error.code, code);
}

/** A WebSocket that keeps the text of every message it sent and received. */
export function watched() {
  const seen = { sent: [], received: [], sockets: [] };
  class Watched extends WebSocket {
    constructor(...args) {
      super(...args);
      seen.sockets.push(this);
      this.on("message", (data) => seen.received.push(data.toString()));
    }

    send(data, ...rest) {
      seen.sent.push(data.toString());
      super.send(data, ...rest);
    }
  }
  return { seen, websocket: Watched };
}

/** A client of `server` that is not connected yet; `t` disconnects it when the test ends. */
export function client(t, server, options = {}) {
  const made = new Centrifuge(server.url, {
    websocket: WebSocket,
    minReconnectDelay: 20,
    maxReconnectDelay: 200,
    ...options,
  });
  t.after(() => made.disconnect());
  return made;
}

/** A client that is connected. */
export async function connected(t, server, options) {
  const made = client(t, server, options);
  made.connect();
  await within(made.ready(), "a connection");
  return made;
}

/** A new subscription of `client` that is subscribed. */
export async function subscribed(client, channel, options) {
  const subscription = client.newSubscription(channel, options);
  subscription.subscribe();
  await within(subscription.ready(), `a subscription to ${channel}`);
  return subscription;
}

/** A connection to a server that speaks the protocol by hand. */
export class Raw {
  #lines = [];
  #waiting = [];

  /** Connects, and ends when `t` does. */
  static async open(t, server) {
    const made = new Raw();
    made.socket = new WebSocket(server.url);
    t.after(() => made.socket.terminate());
    made.socket.on("message", (data) => {
      made.#lines.push(...data.toString().split("\n"));
      while (made.#lines.length > 0 && made.#waiting.length > 0) {
        made.#waiting.shift()(made.#lines.shift());
      }
    });
    made.closed = new Promise((resolve) => {
      made.socket.once("close", (code, reason) => resolve([code, reason.toString()]));
    });
    await within(new Promise((resolve) => made.socket.once("open", resolve)), "an upgrade");
    return made;
  }

  /** Sends `text` as one message and resolves with the next line that comes. */
  async ask(text) {
    this.socket.send(text);
    return this.line();
  }

  /** The next line that comes. */
  async line() {
    if (this.#lines.length > 0) {
      return this.#lines.shift();
    }
    return within(new Promise((resolve) => this.#waiting.push(resolve)), "a line");
  }
}
