// Coming back to a room: a client gets exactly what it missed, or is told that it did not.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server } from "../server.mjs";
import { connected, next, subscribed, within } from "./client.mjs";

/** Publications that one recovery brings at most. Source: PROTOCOL.md 20, recovery_max_publication_limit. */
const LIMIT = 300;

const CONFIG = `
  insecure = true
  [[channel.namespaces]]
  name = "kept"
  history_size = 1000
  history_ttl = "1h"
  force_recovery = true
  [[channel.namespaces]]
  name = "os"
  history_size = 1000
  history_ttl = "1h"
  durability = "os"
  force_recovery = true
  [[channel.namespaces]]
  name = "memory"
  history_size = 1000
  history_ttl = "1h"
  durability = "memory"
  force_recovery = true
  [[channel.namespaces]]
  name = "short"
  history_size = 5
  history_ttl = "1h"
  force_recovery = true
  [[channel.namespaces]]
  name = "asked"
  history_size = 1000
  history_ttl = "1h"
  allow_recovery = true
  allow_positioning = true
  [[channel.namespaces]]
  name = "positioned"
  history_size = 1000
  history_ttl = "1h"
  force_positioning = true
  [[channel.namespaces]]
  name = "latest"
  history_size = 1000
  history_ttl = "1h"
  force_recovery = true
  force_recovery_mode = "cache"
`;

let server;

before(async () => (server = await Server.start(CONFIG)));

after(async () => assert.equal(await server.stop(), 0));

/** Publishes `count` numbers, from `first`. */
async function fill(made, room, count, first = 1) {
  await Promise.all(Array.from({ length: count }, (_, i) => made.publish(room, first + i)));
}

/** Offsets and data of publications. */
const items = (publications) => publications.map(({ offset, data }) => [offset, data]);

/** What `items` gives of the numbers from `first` to `last`, published at these offsets. */
function filled(first, last) {
  return Array.from({ length: last - first + 1 }, (_, i) => [first + i, first + i]);
}

/** What a "subscribed" context says of recovery. */
function recovery({ wasRecovering, recovered, hasRecoveredPublications, streamPosition }) {
  return { wasRecovering, recovered, hasRecoveredPublications, offset: streamPosition.offset };
}

/** Everything that `room` sees from now on. */
function seenBy(room) {
  const seen = [];
  room.on("publication", (context) => seen.push(context));
  return seen;
}

/** Asks as `made` for the room's top; what was published before has arrived by then. */
async function fence(made, room) {
  return (await made.history(room)).offset;
}

/** Subscribes a new client to `room` from a position. */
async function subscribedSince(t, room, since) {
  const subscription = (await connected(t, server)).newSubscription(room, { since });
  const seen = seenBy(subscription);
  const context = next(subscription, "subscribed");
  subscription.subscribe();
  return { subscription, seen, context: await context };
}

test("a subscription to a recoverable room has its position", async (t) => {
  const made = await connected(t, server);
  await fill(made, "kept:position", 3);
  const { epoch } = await made.history("kept:position");
  const room = made.newSubscription("kept:position");
  const context = next(room, "subscribed");
  room.subscribe();
  const { recoverable, positioned, wasRecovering, recovered, streamPosition } = await context;
  assert.deepEqual({ recoverable, positioned, wasRecovering, recovered, streamPosition }, {
    recoverable: true,
    positioned: true,
    wasRecovering: false,
    recovered: false,
    streamPosition: { offset: 3, epoch },
  });
});

for (const name of ["kept", "os", "memory"]) {
  test(`a client that comes back gets what it missed, in order, and then what comes: ${name}`, async (t) => {
    const [reader, writer] = [await connected(t, server), await connected(t, server)];
    const room = await subscribed(reader, `${name}:missed`);
    const seen = seenBy(room);
    await fill(writer, room.channel, 2);
    await fence(reader, room.channel);
    reader.disconnect();
    await fill(writer, room.channel, 5, 3);
    const back = next(room, "subscribed");
    reader.connect();
    assert.deepEqual(recovery(await back), {
      wasRecovering: true,
      recovered: true,
      hasRecoveredPublications: true,
      offset: 2,
    });
    await fill(writer, room.channel, 2, 8);
    await fence(reader, room.channel);
    assert.deepEqual(items(seen), filled(1, 9));
  });
}

test("a client that missed nothing is recovered with nothing", async (t) => {
  const reader = await connected(t, server);
  const room = await subscribed(reader, "kept:nothing");
  const seen = seenBy(room);
  await room.publish(1);
  await fence(reader, room.channel);
  reader.disconnect();
  const back = next(room, "subscribed");
  reader.connect();
  assert.deepEqual(recovery(await back), {
    wasRecovering: true,
    recovered: true,
    hasRecoveredPublications: false,
    offset: 1,
  });
  await fence(reader, room.channel);
  assert.deepEqual(items(seen), [[1, 1]]);
});

test("a client that comes and goes while others publish sees everything once, in order", async (t) => {
  const reader = await connected(t, server);
  const room = await subscribed(reader, "kept:bounce");
  const seen = seenBy(room);
  const writers = await Promise.all([1, 2, 3, 4].map(() => connected(t, server)));
  let isOver = false;
  const written = Promise.all(
    writers.map(async (writer, who) => {
      for (let number = 0; number < 150; number++) {
        await writer.publish(room.channel, `${who}-${number}`);
      }
    }),
  ).then(() => (isOver = true));
  let bounces = 0;
  while (!isOver) {
    const back = next(room, "subscribed");
    reader.disconnect();
    reader.connect();
    assert.ok((await back).recovered);
    bounces += 1;
  }
  await written;
  assert.equal(await fence(reader, room.channel), 600);
  assert.ok(bounces > 3, `${bounces} bounces`);
  assert.deepEqual(seen.map(({ offset }) => offset), filled(1, 600).map(([offset]) => offset));
  assert.equal(new Set(seen.map(({ data }) => data)).size, 600);
});

test("twenty clients that come back at once all get what they missed", async (t) => {
  const writer = await connected(t, server);
  const readers = await Promise.all(Array.from({ length: 20 }, () => connected(t, server)));
  const rooms = await Promise.all(readers.map((reader) => subscribed(reader, "kept:storm")));
  const seen = rooms.map(seenBy);
  readers.forEach((reader) => reader.disconnect());
  await fill(writer, "kept:storm", 10);
  const back = rooms.map((room) => next(room, "subscribed"));
  readers.forEach((reader) => reader.connect());
  await fill(writer, "kept:storm", 10, 11);
  for (const context of await Promise.all(back)) {
    assert.ok(context.recovered);
  }
  await Promise.all(readers.map((reader) => fence(reader, "kept:storm")));
  for (const one of seen) {
    assert.deepEqual(items(one), filled(1, 20));
  }
});

test("a new subscription may begin at a position", async (t) => {
  const writer = await connected(t, server);
  await fill(writer, "kept:since", 5);
  const { epoch } = await writer.history("kept:since");
  for (const [since, first] of [[{ offset: 2, epoch }, 3], [{ offset: 0, epoch }, 1], [{ offset: 4, epoch: "" }, 5]]) {
    const { context, seen, subscription } = await subscribedSince(t, "kept:since", since);
    assert.ok(context.recovered, JSON.stringify(since));
    await subscription.history();
    assert.deepEqual(items(seen), filled(first, 5));
  }
});

test("a position of another epoch, or of the future, is not recovered from", async (t) => {
  const writer = await connected(t, server);
  await fill(writer, "kept:wrong", 3);
  const { epoch } = await writer.history("kept:wrong");
  for (const since of [{ offset: 2, epoch: "another" }, { offset: 4, epoch }, { offset: 1_000_000, epoch }]) {
    const { context, seen, subscription } = await subscribedSince(t, "kept:wrong", since);
    assert.deepEqual(recovery(context), {
      wasRecovering: true,
      recovered: false,
      hasRecoveredPublications: false,
      offset: 3,
    });
    assert.equal(context.streamPosition.epoch, epoch);
    await subscription.history();
    assert.deepEqual(items(seen), []);
  }
});

test("who missed more than is kept is not recovered, and gets what comes", async (t) => {
  const [reader, writer] = [await connected(t, server), await connected(t, server)];
  const room = await subscribed(reader, "short:far");
  const seen = seenBy(room);
  reader.disconnect();
  await fill(writer, "short:far", 6);
  const back = next(room, "subscribed");
  reader.connect();
  const { wasRecovering, recovered, streamPosition } = await back;
  assert.deepEqual([wasRecovering, recovered, streamPosition.offset], [true, false, 6]);
  await fill(writer, "short:far", 2, 7);
  await fence(reader, "short:far");
  assert.deepEqual(items(seen), filled(7, 8));
  const again = next(room, "subscribed");
  reader.disconnect();
  reader.connect();
  assert.ok((await again).recovered, "from the new position");
});

test("who missed exactly what is kept is recovered", async (t) => {
  const writer = await connected(t, server);
  await fill(writer, "short:edge", 8);
  const { epoch } = await writer.history("short:edge");
  const inside = await subscribedSince(t, "short:edge", { offset: 3, epoch });
  assert.ok(inside.context.recovered);
  await inside.subscription.history();
  assert.deepEqual(items(inside.seen), filled(4, 8));
  const outside = await subscribedSince(t, "short:edge", { offset: 2, epoch });
  assert.ok(!outside.context.recovered);
});

test("who missed more than one recovery brings is not recovered", async (t) => {
  const writer = await connected(t, server);
  await fill(writer, "kept:limit", LIMIT + 1);
  const { epoch } = await writer.history("kept:limit");
  const most = await subscribedSince(t, "kept:limit", { offset: 1, epoch });
  assert.ok(most.context.recovered);
  await most.subscription.history();
  assert.deepEqual(items(most.seen), filled(2, LIMIT + 1));
  const more = await subscribedSince(t, "kept:limit", { offset: 0, epoch });
  assert.deepEqual([more.context.recovered, more.context.streamPosition.offset], [false, LIMIT + 1]);
});

test("getState is asked where to begin, and again when that is no position any more", async (t) => {
  const [reader, writer] = [await connected(t, server), await connected(t, server)];
  await fill(writer, "short:state", 2);
  let asked = 0;
  const getState = async () => {
    asked += 1;
    const { offset, epoch } = await writer.history("short:state");
    return { offset, epoch };
  };
  const room = await subscribed(reader, "short:state", { getState, minResubscribeDelay: 10, maxResubscribeDelay: 20 });
  const seen = seenBy(room);
  assert.equal(asked, 1);
  reader.disconnect();
  await fill(writer, "short:state", 3, 3);
  reader.connect();
  await within(room.ready(), "a recovery");
  assert.equal(asked, 1, "a recovery needs no state");
  reader.disconnect();
  await fill(writer, "short:state", 6, 6);
  reader.connect();
  await within(room.ready(), "another state");
  assert.equal(asked, 2);
  await fill(writer, "short:state", 1, 12);
  await fence(reader, "short:state");
  assert.deepEqual(items(seen), [...filled(3, 5), [12, 12]]);
});

test("where it is allowed, a subscription is recoverable or positioned if it asks for it", async (t) => {
  const made = await connected(t, server);
  const asked = async (room, options) => {
    const subscription = made.newSubscription(room, options);
    const context = next(subscription, "subscribed");
    subscription.subscribe();
    const { recoverable, positioned } = await context;
    return { recoverable, positioned };
  };
  assert.deepEqual(await asked("asked:not", {}), { recoverable: false, positioned: false });
  assert.deepEqual(await asked("asked:both", { recoverable: true }), { recoverable: true, positioned: true });
  assert.deepEqual(await asked("asked:one", { positioned: true }), { recoverable: false, positioned: true });
  assert.deepEqual(await asked("positioned:room", {}), { recoverable: false, positioned: true });
});

test("where only the latest counts, it is all that a client that comes back gets", async (t) => {
  const [reader, writer] = [await connected(t, server), await connected(t, server)];
  const room = await subscribed(reader, "latest:room");
  const seen = seenBy(room);
  await fill(writer, "latest:room", 1);
  await fence(reader, "latest:room");
  reader.disconnect();
  await fill(writer, "latest:room", 4, 2);
  const back = next(room, "subscribed");
  reader.connect();
  assert.ok((await back).recovered);
  await fence(reader, "latest:room");
  assert.deepEqual(items(seen), [[1, 1], [5, 5]]);
});
