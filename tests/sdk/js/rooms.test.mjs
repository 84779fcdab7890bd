// Rooms: messages, presence, who comes and goes, and what the server does not do.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, Server, token } from "../server.mjs";
import { Raw, client, collect, connected, failsWith, next, subscribed } from "./client.mjs";

let server;

before(async () => {
  server = await Server.start(`
    insecure = true
    [client.token]
    hmac_secret_key = "${KEY}"
    [channel.without_namespace]
    presence = true
    join_leave = true
    force_push_join_leave = true
    [[channel.namespaces]]
    name = "plain"
    [[channel.namespaces]]
    name = "others"
    exclude_sender = true
  `);
});

after(async () => assert.equal(await server.stop(), 0));

test("a publication comes back to its publisher with its client info", async (t) => {
  const made = client(t, server);
  const connecting = next(made, "connected");
  made.connect();
  const { client: id } = await connecting;
  const room = await subscribed(made, "plain:echo");
  const received = next(room, "publication");
  assert.deepEqual(await room.publish({ text: "hello" }), {});
  const { channel, data, info } = await received;
  assert.deepEqual([channel, data, info.client, info.user], ["plain:echo", { text: "hello" }, id, ""]);
});

test("two clients chat", async (t) => {
  const [ann, bob] = await Promise.all(
    ["ann", "bob"].map((sub) => connected(t, server, { token: token({ sub }) })),
  );
  const [annsRoom, bobsRoom] = await Promise.all([ann, bob].map((who) => subscribed(who, "plain:chat")));
  const heard = Promise.all([annsRoom, bobsRoom].map((room) => collect(room, "publication", 10)));
  const talk = [];
  for (let i = 0; i < 10; i++) {
    const [room, other, user] = i % 2 === 0 ? [annsRoom, bobsRoom, "ann"] : [bobsRoom, annsRoom, "bob"];
    const received = next(other, "publication", ({ data }) => data === `line ${i}`);
    await room.publish(`line ${i}`);
    await received;
    talk.push([user, `line ${i}`]);
  }
  for (const contexts of await heard) {
    assert.deepEqual(
      contexts.map(({ data, info }) => [info.user, data]),
      talk,
    );
  }
});

test("fifty clients in a room all hear each other, every publisher in its order", async (t) => {
  const clients = await Promise.all(Array.from({ length: 50 }, () => connected(t, server)));
  const rooms = await Promise.all(clients.map((made) => subscribed(made, "plain:crowd")));
  const heard = Promise.all(rooms.map((room) => collect(room, "publication", 150)));
  await Promise.all(rooms.flatMap((room, who) => [0, 1, 2].map((n) => room.publish({ who, n }))));
  for (const contexts of await heard) {
    for (let who = 0; who < 50; who++) {
      const mine = contexts.filter(({ data }) => data.who === who).map(({ data }) => data.n);
      assert.deepEqual(mine, [0, 1, 2]);
    }
  }
});

test("any JSON passes unchanged", async (t) => {
  const made = await connected(t, server);
  const room = await subscribed(made, "plain:json");
  const payloads = [
    "Grüße, 世界, мир, مرحبا, नमस्ते",
    "👋🏽 👩‍👩‍👧‍👦 🏳️‍🌈 \u{10ffff} \u{1d11e}",
    "line\nbreak, tab\t, quote \", backslash \\, nul \u0000, \u2028 and \u2029",
    { deep: { nested: [1, 2.5, -1e300, true, null, { "": [] }] } },
    [],
    {},
    0,
    false,
    null,
    "",
    "x".repeat(60_000),
  ];
  for (const payload of payloads) {
    const received = next(room, "publication");
    await room.publish(payload);
    assert.deepEqual((await received).data, payload);
  }
});

test("a payload with white space keeps it and breaks no frame", async (t) => {
  const data = '{ "a" :\t[ 1,\r 2 ] }';
  const room = await subscribed(await connected(t, server), "plain:pretty");
  const received = next(room, "publication");
  const reader = await Raw.open(t, server);
  await reader.ask('{"id":1,"connect":{}}');
  assert.equal(await reader.ask('{"id":2,"subscribe":{"channel":"plain:pretty"}}'), '{"id":2,"subscribe":{}}');
  const writer = await Raw.open(t, server);
  writer.socket.send(`{"id":1,"connect":{}}\n{"id":2,"publish":{"channel":"plain:pretty","data":${data}}}\n`);
  assert.deepEqual((await received).data, { a: [1, 2] });
  const line = await reader.line();
  assert.ok(line.includes(`"data":${data}`), line);
});

test("an escaped newline in a payload is not a new frame", async (t) => {
  const room = await subscribed(await connected(t, server), "plain:lines");
  const received = next(room, "publication");
  await room.publish({ text: JSON.stringify({ pretty: [1, { two: 2 }] }, null, 2) });
  assert.deepEqual(JSON.parse((await received).data.text), { pretty: [1, { two: 2 }] });
});

test("where it is asked for, a publisher does not hear itself", async (t) => {
  const [ann, bob] = await Promise.all([connected(t, server), connected(t, server)]);
  const [annsRoom, bobsRoom] = [await subscribed(ann, "others:room"), await subscribed(bob, "others:room")];
  const first = [next(annsRoom, "publication"), next(bobsRoom, "publication")];
  await annsRoom.publish("of ann");
  await bobsRoom.publish("of bob");
  assert.deepEqual(
    (await Promise.all(first)).map(({ data }) => data),
    ["of bob", "of ann"],
  );
});

test("presence lists the members and presenceStats counts clients and users", async (t) => {
  const claims = [{ sub: "ann", info: { nick: "A" } }, { sub: "ann" }, { sub: "bob" }];
  const clients = await Promise.all(claims.map((one) => connected(t, server, { token: token(one) })));
  const rooms = [];
  for (const made of clients) {
    rooms.push(await subscribed(made, "present"));
  }
  const { clients: present } = await rooms[0].presence();
  assert.deepEqual(
    Object.entries(present)
      .map(([id, { client, user, connInfo }]) => [id === client, user, connInfo])
      .sort((a, b) => a[1].localeCompare(b[1]) || String(a[2]).localeCompare(String(b[2]))),
    [
      [true, "ann", { nick: "A" }],
      [true, "ann", undefined],
      [true, "bob", undefined],
    ],
  );
  assert.deepEqual(await rooms[0].presenceStats(), { numClients: 3, numUsers: 2 });
  const left = next(rooms[0], "leave", ({ info }) => info.user === "bob");
  clients[2].disconnect();
  await left;
  assert.deepEqual(await clients[0].presenceStats("present"), { numClients: 2, numUsers: 1 });
  assert.deepEqual(await clients[0].presenceStats("nobody-here"), { numClients: 0, numUsers: 0 });
});

test("members hear who joins and who leaves, and never themselves leave", async (t) => {
  const ann = await connected(t, server, { token: token({ sub: "ann" }) });
  const bob = await connected(t, server, { token: token({ sub: "bob", info: { nick: "B" } }) });
  const room = ann.newSubscription("door");
  const own = next(room, "join");
  room.subscribe();
  assert.equal((await own).info.user, "ann");
  const joined = next(room, "join");
  const bobsRoom = await subscribed(bob, "door");
  bobsRoom.on("leave", ({ info }) => assert.notEqual(info.user, "bob"));
  const { info } = await joined;
  assert.deepEqual([info.user, info.connInfo], ["bob", { nick: "B" }]);
  const left = next(room, "leave");
  bobsRoom.unsubscribe();
  assert.equal((await left).info.user, "bob");
  bobsRoom.subscribe();
  await next(room, "join");
  const lost = next(room, "leave");
  bob.disconnect();
  assert.equal((await lost).info.user, "bob");
});

test("presence of a room without it is error 108", async (t) => {
  const made = await connected(t, server);
  await failsWith(108, made.presence("plain:room"));
  await failsWith(108, made.presenceStats("plain:room"));
});

test("history and rpc are error 108", async (t) => {
  const made = await connected(t, server);
  await failsWith(108, made.history("plain:room", { limit: 10 }));
  await failsWith(108, made.rpc("method", { any: "data" }));
  await failsWith(102, made.publish("unknown:room", {}));
});

test("an asynchronous message ends the client with 3508", async (t) => {
  const made = await connected(t, server);
  const ended = next(made, "disconnected");
  await made.send({ any: "data" });
  const { code, reason } = await ended;
  assert.deepEqual([code, reason], [3508, "not available"]);
});

test("a message above the limit ends the client with 1009", async (t) => {
  const made = await connected(t, server);
  const ended = next(made, "disconnected");
  made.publish("plain:room", "x".repeat(70_000)).catch(() => {});
  assert.equal((await ended).reason, "message size limit exceeded");
});
