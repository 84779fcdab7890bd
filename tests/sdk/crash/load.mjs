// The load of one round: publishers and subscribers, most of them the official SDK, which lose their
// server and come back by themselves; some publish through the HTTP API. They record what was sent,
// acknowledged and seen, in order.

import { Centrifuge, WebSocket } from "../js/sdk.mjs";
import { message, name } from "./message.mjs";

/** Port on which nothing listens. */
const NOWHERE = "ws://127.0.0.1:1/";

/** Time after which a publisher tries again that was told that the server is too busy, or found none. */
const AGAIN_MS = 20;

/** The code of a failure that is not the server's. */
const AWAY = 1;

/** Errors after which a message may be there or not: the SDK's own, and those that pass. */
const isDoubt = (code) => code < 100 || code === 100 || code === 111;

/** What all clients have in common: where they connect, and whether they can. */
export class Network {
  #sockets = new Set();
  #isCut = false;
  #abort = new AbortController();

  /** Publications that recoveries brought. */
  recovered = 0;

  /** Clients that were ended for good, and why. */
  ended = [];

  /** Where the server's API is, and the key that it asks for: `{ admin, key }`. */
  api;

  /** A class of WebSockets that this network can cut, for the SDK. */
  get websocket() {
    const network = this;
    return class extends WebSocket {
      constructor(url, ...rest) {
        super(network.#isCut ? NOWHERE : url, ...rest);
        network.#sockets.add(this);
        this.on("close", () => network.#sockets.delete(this));
        this.on("message", (data) => network.#count(data));
      }
    };
  }

  #count(data) {
    if (!data.includes('"recovered":true')) {
      return;
    }
    for (const line of data.toString().split("\n")) {
      this.recovered += JSON.parse(line).subscribe?.publications?.length ?? 0;
    }
  }

  /** Ends all connections at once and lets nobody connect: nothing arrives at a client any more. */
  cut() {
    this.#isCut = true;
    this.#abort.abort();
    for (const socket of this.#sockets) {
      socket.terminate();
    }
  }

  /** Lets clients connect again. */
  mend() {
    this.#isCut = false;
    this.#abort = new AbortController();
  }

  /** Calls a method of the server's API; resolves with its result. */
  async call(method, request) {
    if (this.#isCut) {
      throw { code: AWAY, message: "the network is cut" };
    }
    const { admin, key } = this.api;
    const options = { method: "POST", headers: { "X-API-Key": key }, body: JSON.stringify(request) };
    const answer = fetch(`${admin}/api/${method}`, { ...options, signal: this.#abort.signal });
    const text = await answer.then((response) => response.text()).catch(({ message }) => {
      throw { code: AWAY, message };
    });
    const { result, error } = JSON.parse(text);
    if (error !== undefined) {
      throw error;
    }
    return result;
  }

  /** A client of the server at `url`. */
  client(url) {
    const options = { websocket: this.websocket, minReconnectDelay: 20, maxReconnectDelay: 200 };
    const client = new Centrifuge(url, options);
    client.on("disconnected", ({ code, reason }) => {
      if (code !== 0) {
        this.ended.push(`a client was ended with ${code}: ${reason}`);
      }
    });
    return client;
  }
}

/** What was sent to each room, and how many messages were acknowledged in all. */
export class Ledger {
  #waiting = [];
  #failure;

  /** Messages acknowledged so far. */
  acknowledged = 0;

  /** How often the server said that it is too busy. */
  busy = 0;

  constructor(rooms) {
    /** By room: the names of the messages sent, and how each was acknowledged, as `judge` takes it. */
    this.sent = new Map(rooms.map((room) => [room, new Map()]));
  }

  /** `message` was acknowledged, with the offset that it has in `room`, or with none. */
  acknowledge(room, message, offset) {
    this.sent.get(room).set(message, offset ?? true);
    this.acknowledged += 1;
    while (this.#waiting[0]?.count <= this.acknowledged) {
      this.#waiting.shift().resolve();
    }
  }

  /** A message was refused, which no message should be. */
  fail(error) {
    this.#failure ??= error;
    this.#waiting.splice(0).forEach(({ reject }) => reject(error));
  }

  /** Resolves when `count` messages more are acknowledged; rejects if one is refused before. */
  more(count) {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
      }
      this.#waiting.push({ count: this.acknowledged + count, resolve, reject });
      this.#waiting.sort((a, b) => a.count - b.count);
    });
  }
}

/** A way to publish: the SDK. */
export class BySdk {
  #client;

  constructor(client) {
    this.#client = client;
  }

  start() {
    this.#client.connect();
  }

  async publish(room, data) {
    await this.#client.publish(room, data);
    return undefined;
  }

  stop() {
    this.#client.disconnect();
  }
}

/** A way to publish: the HTTP API, which answers where a message is. */
export class ByApi {
  #network;

  constructor(network) {
    this.#network = network;
  }

  start() {}

  async publish(room, data) {
    const { offset } = await this.#network.call("publish", { channel: room, data });
    return offset;
  }

  stop() {}
}

/** Publishes to rooms by chance, in some way. */
export class Publisher {
  #way;
  #ledger;
  #publisher;
  #random;
  #rooms;
  #sent = 0;
  #isStopped = false;
  #lanes = [];

  constructor(way, { publisher, rooms, ledger, random }) {
    this.#way = way;
    this.#publisher = publisher;
    this.#rooms = rooms;
    this.#ledger = ledger;
    this.#random = random;
  }

  /** Publishes until it is stopped, `inFlight` messages at a time. */
  start(inFlight) {
    this.#way.start();
    this.#lanes = Array.from({ length: inFlight }, () => this.#run());
  }

  /** Publishes `count` messages at once. */
  burst(count) {
    for (let i = 0; i < count; i++) {
      this.#lanes.push(this.#publish());
    }
  }

  /** Begins no message any more; resolves when those under way are acknowledged or given up. */
  async stop() {
    this.#isStopped = true;
    await Promise.all(this.#lanes);
    this.#way.stop();
  }

  async #run() {
    while (!this.#isStopped) {
      await this.#publish();
    }
  }

  async #publish() {
    const room = this.#random.of(this.#rooms);
    this.#sent += 1;
    const sent = message(this.#publisher, this.#sent);
    this.#ledger.sent.get(room).set(name(this.#publisher, this.#sent), false);
    try {
      const offset = await this.#way.publish(room, sent);
      this.#ledger.acknowledge(room, name(sent.publisher, sent.number), offset);
    } catch (error) {
      if (!isDoubt(error.code)) {
        this.#isStopped = true;
        this.#ledger.fail(new Error(`publishing to ${room} failed with ${error.code}: ${error.message}`));
      } else if (error.code >= 100 || error.code === AWAY) {
        this.#ledger.busy += error.code === AWAY ? 0 : 1;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
}

/** Subscribes to rooms and records what it sees of each. */
export class Subscriber {
  #client;
  #subscriptions;

  constructor(client, { who, rooms }) {
    this.#client = client;
    /** By room: `{ who, events }`, as `judge` takes it. */
    this.views = new Map(rooms.map((room) => [room, { who, events: [] }]));
    this.#subscriptions = rooms.map((room) => this.#subscribe(room));
  }

  #subscribe(room) {
    const { events } = this.views.get(room);
    const subscription = this.#client.newSubscription(room, { minResubscribeDelay: 20, maxResubscribeDelay: 200 });
    subscription.on("subscribed", ({ streamPosition, wasRecovering, recovered }) => {
      const { epoch, offset } = streamPosition ?? {};
      events.push({ subscribed: { epoch, offset, wasRecovering, recovered } });
    });
    subscription.on("publication", ({ offset, data }) => events.push({ publication: { offset, data } }));
    subscription.on("unsubscribed", ({ code, reason }) => {
      this.ended ??= `the subscription to ${room} ended with ${code}: ${reason}`;
    });
    subscription.subscribe();
    return subscription;
  }

  /** Connects, or connects again after `leave`. */
  connect() {
    this.#client.connect();
  }

  /** Disconnects; the subscriptions are recovered with the next connection. */
  leave() {
    this.#client.disconnect();
  }

  /** Resolves when all subscriptions are there, for the first time or again. */
  async ready() {
    await Promise.all(this.#subscriptions.map((subscription) => subscription.ready()));
  }

  /** Resolves when everything has arrived that was published in its rooms before. */
  async fence() {
    await Promise.all(this.#subscriptions.map((subscription) => subscription.history({ limit: 0 })));
  }

  /** The last offset seen of `room`. */
  last(room) {
    const event = this.views.get(room).events.at(-1);
    return event?.publication?.offset ?? event?.subscribed?.offset;
  }
}

/** The whole history of `room`, read page by page; the pages must fit together. */
export async function readHistory(client, room, limit = 300) {
  const { epoch, offset } = await client.history(room, { limit: 0 });
  const publications = [];
  let since = { epoch, offset: 0 };
  for (;;) {
    const page = await client.history(room, { limit, since });
    publications.push(...page.publications.map(({ offset, data }) => ({ offset, data })));
    if (page.publications.length < limit) {
      return { epoch, offset, publications };
    }
    since = { epoch, offset: publications.at(-1).offset };
  }
}
