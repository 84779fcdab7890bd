// Read cursors: how far a user has read in a room, and how much is left. throng's own, by rpc.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { KEY, Server, token } from "../server.mjs";
import { connected, failsWith, next, within } from "./client.mjs";

const CONFIG = `
  insecure = true
  drain_ms = 0
  [client.token]
  hmac_secret_key = "${KEY}"
  [[channel.namespaces]]
  name = "kept"
  history_size = 1000
  history_ttl = "1h"
  [[channel.namespaces]]
  name = "short"
  history_size = 3
  history_ttl = "1h"
`;

let data;
let server;

before(async () => {
  data = mkdtempSync(join(tmpdir(), "throng-unread-"));
  server = await Server.start(CONFIG, { data });
});

after(async () => {
  assert.equal(await server.stop(), 0);
  rmSync(data, { recursive: true });
});

/** A connected client of `user`. */
const userOf = (t, user) => connected(t, server, { token: token({ sub: user }) });

/** Publishes `count` messages. */
async function fill(made, room, count) {
  await Promise.all(Array.from({ length: count }, (_, i) => made.publish(room, i + 1)));
}

/** Moves the cursor of `made`; resolves with where it is then. */
async function read(made, channel, offset) {
  const { data } = await made.rpc("read", { channel, offset });
  assert.deepEqual(Object.keys(data), ["offset"]);
  return data.offset;
}

/** What `made` has not read, by room. */
async function unread(made, ...channels) {
  return (await made.rpc("unread", { channels })).data.channels;
}

test("what was never read is unread", async (t) => {
  const ann = await userOf(t, "ann");
  await fill(ann, "kept:new", 3);
  assert.deepEqual(await unread(ann, "kept:new", "kept:nobody-ever"), {
    "kept:new": { unread: 3, offset: 3, read: 0 },
    "kept:nobody-ever": { unread: 0, offset: 0, read: 0 },
  });
});

test("a cursor moves forward only", async (t) => {
  const ann = await userOf(t, "ann");
  await fill(ann, "kept:cursor", 5);
  assert.equal(await read(ann, "kept:cursor", 2), 2);
  assert.deepEqual((await unread(ann, "kept:cursor"))["kept:cursor"], { unread: 3, offset: 5, read: 2 });
  assert.equal(await read(ann, "kept:cursor", 1), 2);
  assert.equal(await read(ann, "kept:cursor", 0), 2);
  assert.equal(await read(ann, "kept:cursor", 5), 5);
  assert.deepEqual((await unread(ann, "kept:cursor"))["kept:cursor"], { unread: 0, offset: 5, read: 5 });
  await fill(ann, "kept:cursor", 2);
  assert.deepEqual((await unread(ann, "kept:cursor"))["kept:cursor"], { unread: 2, offset: 7, read: 5 });
});

test("a cursor above the room's top is error 107 and moves nothing", async (t) => {
  const ann = await userOf(t, "ann");
  await fill(ann, "kept:above", 2);
  assert.equal(await read(ann, "kept:above", 1), 1);
  await failsWith(107, ann.rpc("read", { channel: "kept:above", offset: 3 }));
  await failsWith(107, ann.rpc("read", { channel: "kept:above", offset: 2 ** 53 }));
  assert.deepEqual((await unread(ann, "kept:above"))["kept:above"], { unread: 1, offset: 2, read: 1 });
});

test("each user has cursors of its own, the same on all its connections", async (t) => {
  const [ann, phone, bob] = [await userOf(t, "carl"), await userOf(t, "carl"), await userOf(t, "dora")];
  await fill(ann, "kept:own", 4);
  await fill(ann, "kept:other", 1);
  await read(ann, "kept:own", 3);
  await read(bob, "kept:own", 1);
  const counts = async (made) => {
    const channels = await unread(made, "kept:own", "kept:other");
    return [channels["kept:own"].unread, channels["kept:other"].unread];
  };
  assert.deepEqual([await counts(ann), await counts(phone), await counts(bob)], [[1, 1], [1, 1], [3, 1]]);
});

test("two connections that move a cursor at once leave it at the higher", async (t) => {
  const [one, two] = [await userOf(t, "ella"), await userOf(t, "ella")];
  await fill(one, "kept:race", 50);
  const moves = Array.from({ length: 50 }, (_, i) => read(i % 2 === 0 ? one : two, "kept:race", i + 1));
  await Promise.all(moves);
  assert.deepEqual((await unread(one, "kept:race"))["kept:race"], { unread: 0, offset: 50, read: 50 });
});

test("messages that are not kept any more count as unread", async (t) => {
  const ann = await userOf(t, "ann");
  await fill(ann, "short:room", 10);
  await read(ann, "short:room", 2);
  assert.deepEqual((await unread(ann, "short:room"))["short:room"], { unread: 8, offset: 10, read: 2 });
});

test("the anonymous user has no cursors: error 103", async (t) => {
  const nobody = await connected(t, server);
  await fill(nobody, "kept:anonymous", 1);
  await failsWith(103, nobody.rpc("read", { channel: "kept:anonymous", offset: 1 }));
  await failsWith(103, nobody.rpc("unread", { channels: ["kept:anonymous"] }));
});

test("rooms without a history have no cursors, unknown namespaces no rooms", async (t) => {
  const ann = await userOf(t, "ann");
  await failsWith(108, ann.rpc("read", { channel: "room", offset: 0 }));
  await failsWith(102, ann.rpc("read", { channel: "unknown:room", offset: 0 }));
});

test("what is no request is error 107", async (t) => {
  const ann = await userOf(t, "ann");
  const channel = "kept:bad";
  const wrong = [{ channel }, { offset: 1 }, { channel, offset: -1 }, { channel, offset: "1" }, { channel: 1, offset: 1 }];
  for (const data of [null, [], "text", {}, ...wrong]) {
    await failsWith(107, ann.rpc("read", data));
  }
  for (const data of [null, [], {}, { channels: "kept:bad" }, { channels: [1] }, { channels: { "kept:bad": 1 } }]) {
    await failsWith(107, ann.rpc("unread", data));
  }
});

test("cursors are there again after the server was killed", async (t) => {
  const ann = await userOf(t, "ann");
  await fill(ann, "kept:restart", 6);
  assert.equal(await read(ann, "kept:restart", 4), 4);
  const away = next(ann, "connecting");
  await server.kill();
  await away;
  server = await Server.start(CONFIG, { listen: server.address, data });
  await within(ann.ready(), "the client to come back");
  assert.deepEqual((await unread(ann, "kept:restart"))["kept:restart"], { unread: 2, offset: 6, read: 4 });
  assert.equal(await read(ann, "kept:restart", 3), 4);
});
