// Rooms with a history: publications are numbered, kept, and read again.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, Server, token } from "../server.mjs";
import { Raw, collect, connected, failsWith, next, subscribed } from "./client.mjs";

/** Items that one answer holds. Source: PROTOCOL.md 20, history_max_publication_limit. */
const LIMIT = 300;

let open;
let closed;

before(async () => {
  open = await Server.start(`
    insecure = true
    [channel.without_namespace]
    presence = true
    [[channel.namespaces]]
    name = "kept"
    history_size = 1000
    history_ttl = "1h"
    [[channel.namespaces]]
    name = "short"
    history_size = 5
    history_ttl = "1h"
    [[channel.namespaces]]
    name = "os"
    history_size = 1000
    history_ttl = "1h"
    durability = "os"
    [[channel.namespaces]]
    name = "memory"
    history_size = 1000
    history_ttl = "1h"
    durability = "memory"
    [[channel.namespaces]]
    name = "others"
    exclude_sender = true
    history_size = 1000
    history_ttl = "1h"
  `);
  closed = await Server.start(`
    [client.token]
    hmac_secret_key = "${KEY}"
    [[channel.namespaces]]
    name = "all"
    history_size = 10
    history_ttl = "1h"
    allow_history_for_client = true
    allow_publish_for_client = true
    [[channel.namespaces]]
    name = "members"
    history_size = 10
    history_ttl = "1h"
    allow_history_for_subscriber = true
    allow_subscribe_for_client = true
    [[channel.namespaces]]
    name = "none"
    history_size = 10
    history_ttl = "1h"
    allow_subscribe_for_client = true
  `);
});

after(async () => {
  assert.equal(await open.stop(), 0);
  assert.equal(await closed.stop(), 0);
});

/** Publishes the numbers from 1 to `count`, several at a time. */
async function fill(made, room, count) {
  await Promise.all(Array.from({ length: count }, (_, i) => made.publish(room, i + 1)));
}

/** Offsets and data of publications. */
const items = (publications) => publications.map(({ offset, data }) => [offset, data]);

/** What `items` gives of the publications that `fill` made, from `first` to `last` in either order. */
function filled(first, last) {
  const step = first <= last ? 1 : -1;
  return Array.from({ length: Math.abs(last - first) + 1 }, (_, i) => [first + i * step, first + i * step]);
}

for (const name of ["kept", "os", "memory"]) {
  test(`publications are numbered from 1, acknowledged and kept: ${name}`, async (t) => {
    const made = await connected(t, open);
    const room = await subscribed(made, `${name}:numbered`);
    const seen = collect(room, "publication", 20);
    const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => room.publish(i + 1)));
    assert.deepEqual(replies, Array(20).fill({}));
    assert.deepEqual(items(await seen), filled(1, 20));
    const history = await room.history({ limit: 100 });
    assert.deepEqual(items(history.publications), filled(1, 20));
    assert.equal(history.offset, 20);
    assert.notEqual(history.epoch, "");
  });
}

test("two rooms count for themselves and have epochs of their own", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:one", 3);
  await fill(made, "kept:two", 2);
  const [one, two] = await Promise.all(["kept:one", "kept:two"].map((room) => made.history(room)));
  assert.deepEqual([one.offset, two.offset], [3, 2]);
  assert.notEqual(one.epoch, two.epoch);
});

test("a room that nobody has published in has a position, and keeps its epoch", async (t) => {
  const made = await connected(t, open);
  const empty = await made.history("kept:empty", { limit: 10 });
  assert.deepEqual([empty.publications, empty.offset], [[], 0]);
  assert.notEqual(empty.epoch, "");
  await made.publish("kept:empty", 1);
  const { epoch, offset } = await made.history("kept:empty");
  assert.deepEqual([epoch, offset], [empty.epoch, 1]);
});

test("without a limit the history is its position alone", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:position", 3);
  const { publications, offset } = await made.history("kept:position");
  assert.deepEqual([publications, offset], [[], 3]);
});

test("a limit gives the oldest, and the newest in reverse", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:limit", 10);
  const forward = await made.history("kept:limit", { limit: 3 });
  assert.deepEqual(items(forward.publications), filled(1, 3));
  const backward = await made.history("kept:limit", { limit: 3, reverse: true });
  assert.deepEqual(items(backward.publications), filled(10, 8));
  assert.deepEqual([forward.offset, backward.offset], [10, 10]);
});

test("since gives what comes after it, and what was before it in reverse", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:since", 10);
  const { epoch } = await made.history("kept:since");
  const read = async (options) => items((await made.history("kept:since", options)).publications);
  assert.deepEqual(await read({ limit: 3, since: { offset: 4, epoch } }), filled(5, 7));
  assert.deepEqual(await read({ limit: 100, since: { offset: 8, epoch } }), filled(9, 10));
  assert.deepEqual(await read({ limit: 3, since: { offset: 4, epoch }, reverse: true }), filled(3, 1));
  assert.deepEqual(await read({ limit: 2, since: { offset: 4, epoch }, reverse: true }), filled(3, 2));
  assert.deepEqual(await read({ limit: 3, since: { offset: 0, epoch } }), filled(1, 3));
  assert.deepEqual(await read({ limit: 3, since: { offset: 10, epoch } }), [], "from the top");
  assert.deepEqual(await read({ limit: 3, since: { offset: 1_000_000, epoch } }), [], "above the top");
  assert.deepEqual(await read({ limit: 3, since: { offset: 4, epoch: "" } }), filled(5, 7), "any epoch");
});

test("pages fit together, in both directions", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:pages", 25);
  const { epoch } = await made.history("kept:pages");
  for (const reverse of [false, true]) {
    const read = [];
    let since;
    for (;;) {
      const { publications } = await made.history("kept:pages", { limit: 10, reverse, since });
      if (publications.length === 0) {
        break;
      }
      read.push(...items(publications));
      since = { offset: publications.at(-1).offset, epoch };
    }
    assert.deepEqual(read, reverse ? filled(25, 1) : filled(1, 25));
  }
});

test("another epoch is error 112, and so is one of another room", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:epoch", 3);
  const { epoch } = await made.history("kept:another");
  await failsWith(112, made.history("kept:epoch", { limit: 3, since: { offset: 1, epoch: "another" } }));
  await failsWith(112, made.history("kept:epoch", { limit: 3, since: { offset: 1, epoch } }));
});

test("in reverse from the offset 0 is error 107", async (t) => {
  const made = await connected(t, open);
  const { epoch } = await made.history("kept:reverse");
  await failsWith(107, made.history("kept:reverse", { limit: 3, since: { offset: 0, epoch }, reverse: true }));
});

test("an answer holds 300 publications at most, whatever is asked for", async (t) => {
  const made = await connected(t, open);
  await fill(made, "kept:many", LIMIT + 10);
  for (const limit of [-1, LIMIT, LIMIT + 1, 1_000_000]) {
    const { publications, offset } = await made.history("kept:many", { limit });
    assert.deepEqual(items(publications), filled(1, LIMIT), `limit ${limit}`);
    assert.equal(offset, LIMIT + 10);
  }
});

test("of a room are kept the last history_size, which is where an older since begins", async (t) => {
  const made = await connected(t, open);
  await fill(made, "short:window", 8);
  const { publications, offset, epoch } = await made.history("short:window", { limit: 100 });
  assert.deepEqual(items(publications), filled(4, 8));
  assert.equal(offset, 8);
  const older = await made.history("short:window", { limit: 2, since: { offset: 1, epoch } });
  assert.deepEqual(items(older.publications), filled(4, 5));
});

test("a kept publication is what was sent, with who sent it", async (t) => {
  const ann = await connected(t, open);
  const room = await subscribed(ann, "kept:whole");
  const payloads = ["Grüße 👋🏽 \u0000 \u2028 \"\\", { deep: [1.5, { "": null }] }, [], {}, 0, false, null, ""];
  const seen = collect(room, "publication", payloads.length);
  for (const payload of payloads) {
    await room.publish(payload);
  }
  const { publications } = await room.history({ limit: 100 });
  assert.deepEqual(
    publications.map(({ data }) => data),
    payloads,
  );
  const whole = ({ offset, data, info }) => ({ offset, data, info });
  assert.deepEqual(publications.map(whole), (await seen).map(whole));
  assert.match(publications[0].info.client, /^[0-9a-f-]{36}$/);
});

test("a payload with white space is kept with it, but for its newlines", async (t) => {
  const writer = await Raw.open(t, open);
  await writer.ask('{"id":1,"connect":{}}');
  const data = '{ "a" :\t[ 1,\r 2 ] }';
  assert.equal(await writer.ask(`{"id":2,"publish":{"channel":"kept:raw","data":${data}}}`), '{"id":2,"publish":{}}');
  const line = await writer.ask('{"id":3,"history":{"channel":"kept:raw","limit":1}}');
  assert.ok(line.includes(`"data":${data}`), line);
});

test("an empty history writes out what is zero", async (t) => {
  const reader = await Raw.open(t, open);
  await reader.ask('{"id":1,"connect":{}}');
  const { history } = JSON.parse(await reader.ask('{"id":2,"history":{"channel":"kept:zeros","limit":5}}'));
  assert.deepEqual([history.publications, history.offset], [[], 0]);
});

test("a publisher is acknowledged after the publication is on its way", async (t) => {
  const made = await connected(t, open);
  const room = await subscribed(made, "kept:order");
  const order = [];
  room.on("publication", ({ data }) => order.push(`publication ${data}`));
  const seen = collect(room, "publication", 3);
  for (const number of [1, 2, 3]) {
    await room.publish(number);
    const { offset } = await room.history();
    order.push(`offset ${offset}`);
  }
  await seen;
  assert.deepEqual(order, [1, 2, 3].flatMap((number) => [`publication ${number}`, `offset ${number}`]));
});

test("a publisher that does not hear itself is kept in the history and counted", async (t) => {
  const [ann, bob] = await Promise.all([connected(t, open), connected(t, open)]);
  const [annsRoom, bobsRoom] = [await subscribed(ann, "others:room"), await subscribed(bob, "others:room")];
  const heard = [next(annsRoom, "publication"), next(bobsRoom, "publication")];
  await annsRoom.publish("of ann");
  await bobsRoom.publish("of bob");
  assert.deepEqual(items(await Promise.all(heard)), [[2, "of bob"], [1, "of ann"]]);
  const { publications } = await annsRoom.history({ limit: 10 });
  assert.deepEqual(items(publications), [[1, "of ann"], [2, "of bob"]]);
});

test("fifty clients that publish at once are numbered without holes, and all see the same", async (t) => {
  const clients = await Promise.all(Array.from({ length: 50 }, () => connected(t, open)));
  const rooms = await Promise.all(clients.map((made) => subscribed(made, "kept:crowd")));
  const heard = Promise.all(rooms.map((room) => collect(room, "publication", 250)));
  const numbers = [0, 1, 2, 3, 4];
  await Promise.all(rooms.flatMap((room, who) => numbers.map((number) => room.publish({ who, number }))));
  const { publications } = await rooms[0].history({ limit: LIMIT });
  assert.deepEqual(publications.map(({ offset }) => offset), filled(1, 250).map(([offset]) => offset));
  for (const seen of await heard) {
    assert.deepEqual(items(seen), items(publications));
  }
  for (let who = 0; who < 50; who++) {
    const mine = publications.filter(({ data }) => data.who === who).map(({ data }) => data.number);
    assert.deepEqual(mine, numbers, "each publisher's in its order");
  }
});

test("the history of a room without one is error 108, of an unknown namespace 102", async (t) => {
  const made = await connected(t, open);
  await failsWith(108, made.history("room", { limit: 10 }));
  await failsWith(102, made.history("unknown:room", { limit: 10 }));
});

test("who may read a history is up to its namespace", async (t) => {
  const made = await connected(t, closed, { token: token({ sub: "ann" }) });
  await made.publish("all:room", "for all");
  const { publications } = await made.history("all:room", { limit: 10 });
  assert.deepEqual(items(publications), [[1, "for all"]]);
  await failsWith(103, made.history("members:room", { limit: 10 }));
  await subscribed(made, "members:room");
  assert.equal((await made.history("members:room", { limit: 10 })).offset, 0);
  await subscribed(made, "none:room");
  await failsWith(103, made.history("none:room", { limit: 10 }));
});
