// The load of one round: publishers and subscribers, all of them the official SDK, which lose their
// server and come back by themselves. They record what was sent, acknowledged and seen, in order.

import { Centrifuge, WebSocket } from "../js/sdk.mjs";
import { message, name } from "./message.mjs";

/** Port on which nothing listens. */
const NOWHERE = "ws://127.0.0.1:1/";

/** Time after which a publisher tries again that was told that the server is too busy. */
const BUSY_MS = 20;

/** Errors after which a message may be there or not: the SDK's own, and those that pass. */
const isDoubt = (code) => code < 100 || code === 100 || code === 111;

/** What all clients have in common: where they connect, and whether they can. */
export class Network {
  #sockets = new Set();
  #isCut = false;

  /** Publications that recoveries brought. */
  recovered = 0;

  /** Clients that were ended for good, and why. */
  ended = [];

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
    for (const socket of this.#sockets) {
      socket.terminate();
    }
  }

  /** Lets clients connect again. */
  mend() {
    this.#isCut = false;
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
    /** By room: the names of the messages sent, and whether each was acknowledged. */
    this.sent = new Map(rooms.map((room) => [room, new Map()]));
  }

  acknowledge(room, message) {
    this.sent.get(room).set(message, true);
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

/** Publishes to rooms by chance, with several messages under way. */
export class Publisher {
  #client;
  #ledger;
  #publisher;
  #random;
  #rooms;
  #sent = 0;
  #isStopped = false;
  #lanes = [];

  constructor(client, { publisher, rooms, ledger, random }) {
    this.#client = client;
    this.#publisher = publisher;
    this.#rooms = rooms;
    this.#ledger = ledger;
    this.#random = random;
  }

  /** Publishes until it is stopped, `inFlight` messages at a time. */
  start(inFlight) {
    this.#client.connect();
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
    this.#client.disconnect();
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
      await this.#client.publish(room, sent);
      this.#ledger.acknowledge(room, name(sent.publisher, sent.number));
    } catch (error) {
      if (!isDoubt(error.code)) {
        this.#isStopped = true;
        this.#ledger.fail(new Error(`publishing to ${room} failed with ${error.code}: ${error.message}`));
      } else if (error.code >= 100) {
        this.#ledger.busy += 1;
        await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
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
