// A server that ends and starts again: rooms, epochs and cursors are there, and clients come back to them.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Server } from "../server.mjs";
import { client, collect, connected, next, subscribed, within } from "./client.mjs";

const CONFIG = ["fsync", "os", "memory"].reduce(
  (config, durability) => `${config}
    [[channel.namespaces]]
    name = "${durability}"
    history_size = 1000
    history_ttl = "1h"
    durability = "${durability}"
    force_recovery = true
  `,
  `
    insecure = true
    drain_ms = 0
  `,
);

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

/** A server that `restart` ends and starts on the same port and data. */
class Restarted {
  /** Starts it, and ends it when `t` ends. */
  static async start(t) {
    const made = new Restarted();
    made.data = mkdtempSync(join(tmpdir(), "throng-restart-"));
    made.server = await Server.start(CONFIG, { data: made.data });
    t.after(async () => {
      await made.server.stop();
      rmSync(made.data, { recursive: true });
    });
    return made;
  }

  /** Ends it as `end` does, and starts it again once `witness`, a client, has noticed. */
  async restart(end, witness) {
    const away = next(witness, "connecting");
    await end(this.server);
    await away;
    this.server = await Server.start(CONFIG, { listen: this.server.address, data: this.data });
    await within(witness.ready(), "a client to come back");
  }
}

/** Ends a server in one way or the other. */
const ENDS = [
  ["is told to end", async (one) => assert.equal(await one.stop(), 0)],
  ["is killed", (one) => one.kill()],
];

for (const [how, end] of ENDS) {
  test(`a server that ${how} and starts again has its rooms, with their epochs`, async (t) => {
    const restarted = await Restarted.start(t);
    const reader = client(t, restarted.server);
    const writer = await connected(t, restarted.server);
    reader.connect();
    const rooms = [];
    for (const name of ["fsync", "os", "memory"]) {
      rooms.push(await subscribed(reader, `${name}:restart`));
    }
    const [kept, os, memory] = rooms;
    const seen = rooms.map(seenBy);
    const before = await Promise.all(rooms.map((room) => reader.history(room.channel)));
    for (const room of rooms) {
      await fill(writer, room.channel, 2);
      await fence(reader, room.channel);
    }
    reader.disconnect();
    for (const room of rooms) {
      await fill(writer, room.channel, 3, 3);
    }
    await restarted.restart(end, writer);
    for (const room of [kept, os]) {
      await fill(writer, room.channel, 2, 6);
    }
    const back = rooms.map((room) => next(room, "subscribed"));
    reader.connect();
    const contexts = await Promise.all(back);
    assert.deepEqual(contexts.map(({ wasRecovering, recovered }) => [wasRecovering, recovered]), [
      [true, true],
      [true, true],
      [true, false],
    ]);
    const epochs = contexts.map(({ streamPosition }) => streamPosition.epoch);
    assert.deepEqual(epochs.slice(0, 2), before.slice(0, 2).map(({ epoch }) => epoch));
    assert.notEqual(epochs[2], before[2].epoch, "what was in memory is gone, and is known to be");
    assert.equal(contexts[2].streamPosition.offset, 0);
    for (const room of [kept, os]) {
      assert.equal(await fence(reader, room.channel), 7);
      const { publications } = await room.history({ limit: 100 });
      assert.deepEqual(items(publications), filled(1, 7));
    }
    assert.deepEqual(items(seen[0]), filled(1, 7));
    assert.deepEqual(items(seen[1]), filled(1, 7));
    assert.deepEqual(items(seen[2]), filled(1, 2));
    const live = next(memory, "publication");
    await writer.publish(memory.channel, "anew");
    assert.deepEqual(items([await live]), [[1, "anew"]]);
  });
}

test("a client that is there when the server is killed recovers by itself", async (t) => {
  const restarted = await Restarted.start(t);
  const { server } = restarted;
  const [reader, writer] = [await connected(t, server), await connected(t, server)];
  const room = await subscribed(reader, "fsync:alone");
  const seen = collect(room, "publication", 30);
  await fill(writer, "fsync:alone", 20);
  const back = next(room, "subscribed");
  await restarted.restart((one) => one.kill(), writer);
  await fill(writer, "fsync:alone", 10, 21);
  const { wasRecovering, recovered } = await back;
  assert.deepEqual([wasRecovering, recovered], [true, true]);
  assert.deepEqual(items(await seen), filled(1, 30));
});
