// One round: a server under load ends at some moment, comes back, and is asked what it remembers.

import { Server } from "../server.mjs";
import { inDoubt, judge } from "./check.mjs";
import { Ledger, Network, Publisher, Subscriber, readHistory } from "./load.mjs";
import { image, stamp, tear } from "./torn.mjs";

/** How safely rooms keep what they acknowledge, by mode: what has only left the server may be torn. */
const DURABILITIES = { kill: ["fsync", "os"], term: ["fsync", "os"], truncate: ["fsync"] };

/** The server's configuration: a namespace for each durability, and of its name. */
export const CONFIG = ["fsync", "os"].reduce(
  (config, durability) => `${config}
[[channel.namespaces]]
name = "${durability}"
history_size = 1000000
history_ttl = "24h"
durability = "${durability}"
force_recovery = true
`,
  `
insecure = true
drain_ms = 200
`,
);

/** Far above what a loaded machine needs: a round that reaches it has failed. */
const DEADLINE_MS = 30_000;

/** How often what subscribers saw is compared with what there is. */
const POLL_MS = 5;

/** How long a server that has messages to write has to write something. */
const WRITE_MS = 500;

/** Messages that are on their way to a server that stands still, each publisher. */
const BURST = 40;

/** Acknowledgements after which the server ends, and after which the load does. */
const BEFORE_ACKNOWLEDGED = [50, 1500];
const AFTER_ACKNOWLEDGED = [50, 500];

/** Acknowledgements after which some subscriber leaves, and after which it comes back. */
const LEAVES_ACKNOWLEDGED = [10, 200];

/** How long after an acknowledgement the server ends, and how long a stopped one goes on, in ms. */
const MOMENT_MS = [0, 8];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Rejects with what `what` names if `promise` is not settled within the deadline. */
async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE_MS} ms for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Ends `server` as `mode` says; returns what is to be told of it. */
async function end(server, { mode, data, random, network, publishers }) {
  if (mode === "term") {
    const code = await within(server.stop(), "the server to end");
    return { violations: code === 0 ? [] : [{ kind: "exit", detail: `SIGTERM ended it with ${code}` }] };
  }
  if (mode === "kill") {
    await server.kill();
    return { violations: [] };
  }
  // What clients know from here on is all that they will know of this server, and it is on the disk.
  server.signal("SIGSTOP");
  publishers.forEach((publisher) => publisher.burst(BURST));
  await sleep(1);
  network.cut();
  const [before, stamped] = [image(data), stamp(data)];
  server.signal("SIGCONT");
  const start = performance.now();
  while (stamp(data) === stamped && performance.now() - start < WRITE_MS) {
    await sleep(0);
  }
  await sleep(random.between(...MOMENT_MS));
  await server.kill();
  const torn = tear(data, before, random);
  network.mend();
  return { violations: [], torn };
}

/** Starts the server again where it was; returns it and the time until it was ready. */
async function restart(address, { data, random, mode }) {
  // Now and then it ends once more while it starts.
  if (mode !== "term" && random.chance(0.2)) {
    const early = Server.spawn(CONFIG, { listen: address, data });
    await sleep(random.between(0, 60));
    await early.kill();
  }
  const start = performance.now();
  const server = await within(Server.start(CONFIG, { listen: address, data }), "the server to start again");
  return { server, ms: performance.now() - start };
}

/** Lets a subscriber leave and come back now and then, until `isOver()`. */
async function leaveNowAndThen(subscribers, ledger, random, isOver) {
  while (!isOver()) {
    await ledger.more(random.between(...LEAVES_ACKNOWLEDGED));
    const subscriber = random.of(subscribers);
    subscriber.leave();
    await ledger.more(random.between(...LEAVES_ACKNOWLEDGED));
    subscriber.connect();
  }
}

/** Resolves when subscribers have seen the tops of their rooms and all that was sent, or after the deadline. */
async function caughtUp(subscribers, histories) {
  const isBehind = (subscriber) =>
    [...subscriber.views.keys()].some((room) => (subscriber.last(room) ?? -1) < histories.get(room).offset);
  const start = performance.now();
  while (subscribers.some(isBehind) && performance.now() - start < DEADLINE_MS) {
    await sleep(POLL_MS);
  }
  // What comes twice may come after the top.
  await Promise.all(subscribers.map((subscriber) => subscriber.fence()));
}

/** The whole histories of `rooms`, by room. */
export async function readHistories(server, rooms) {
  const client = new Network().client(server.url);
  client.connect();
  const histories = new Map();
  for (const room of rooms) {
    histories.set(room, await within(readHistory(client, room), `the history of ${room}`));
  }
  client.disconnect();
  return histories;
}

/** Makes the clients of a round, connected and subscribed. */
async function begin(server, rooms, { number, random, counts }) {
  const [network, ledger] = [new Network(), new Ledger(rooms)];
  const subscribers = Array.from({ length: counts.subscribers }, (_, i) => {
    const some = rooms.filter((_, room) => room % counts.subscribers === i || random.chance(0.4));
    return new Subscriber(network.client(server.url), { who: `subscriber ${number}.${i}`, rooms: some });
  });
  subscribers.forEach((subscriber) => subscriber.connect());
  await within(Promise.all(subscribers.map((subscriber) => subscriber.ready())), "subscriptions");
  const publishers = Array.from({ length: counts.publishers }, (_, publisher) => {
    return new Publisher(network.client(server.url), { publisher, rooms, ledger, random: random.fork() });
  });
  publishers.forEach((publisher) => publisher.start(counts.inFlight));
  return { network, ledger, subscribers, publishers };
}

/** What is wrong after a round with its rooms and its clients. */
function judgeRound(rooms, { network, ledger, subscribers }, histories) {
  const ends = [...network.ended, ...subscribers.map(({ ended }) => ended).filter(Boolean)];
  const violations = ends.map((detail) => ({ kind: "ended", detail }));
  const doubt = { kept: 0, gone: 0 };
  for (const room of rooms) {
    const views = subscribers.map((subscriber) => subscriber.views.get(room)).filter(Boolean);
    const judged = { sent: ledger.sent.get(room), history: histories.get(room), views };
    violations.push(...judge(judged).map((violation) => ({ ...violation, room })));
    const { kept, gone } = inDoubt(judged);
    doubt.kept += kept;
    doubt.gone += gone;
  }
  return { violations, doubt };
}

/**
 * Runs a round on `server`, which is ended and started again. `data` is its directory, `counts` how
 * many rooms, publishers and subscribers there are and how many messages of each are in flight.
 *
 * Returns the server that then runs, what is to be told of the round, its violations, and the
 * histories of its rooms, which are to stay so.
 */
export async function round(server, { number, mode, data, random, counts }) {
  const namespaces = DURABILITIES[mode];
  const rooms = Array.from({ length: counts.rooms }, (_, i) => `${namespaces[i % namespaces.length]}:${number}-${i}`);
  const load = await begin(server, rooms, { number, random, counts });
  const { network, ledger, subscribers, publishers } = load;
  let isOver = false;
  leaveNowAndThen(subscribers, ledger, random.fork(), () => isOver).catch(() => {});

  await within(ledger.more(random.between(...BEFORE_ACKNOWLEDGED)), "acknowledgements");
  await sleep(random.between(...MOMENT_MS));
  const { violations, torn } = await end(server, { mode, data, random, network, publishers });
  const before = ledger.acknowledged;
  const again = await restart(server.address, { mode, data, random }).catch((error) => {
    throw Object.assign(error, { torn });
  });
  await within(ledger.more(random.between(...AFTER_ACKNOWLEDGED)), "acknowledgements after the restart");
  isOver = true;
  await within(Promise.all(publishers.map((publisher) => publisher.stop())), "publishers to end");

  const histories = await readHistories(again.server, rooms);
  subscribers.forEach((subscriber) => subscriber.connect());
  await within(caughtUp(subscribers, histories), "subscribers to catch up").catch(({ message }) => {
    violations.push({ kind: "late", detail: message });
  });
  subscribers.forEach((subscriber) => subscriber.leave());
  const judged = judgeRound(rooms, load, histories);
  const { acknowledged, busy } = ledger;
  return {
    ...again,
    torn,
    histories,
    violations: [...violations, ...judged.violations],
    told: { before, acknowledged, busy, doubt: judged.doubt, recovered: network.recovered },
  };
}
