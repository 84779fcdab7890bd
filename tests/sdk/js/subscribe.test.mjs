// Subscribing: who may, how it fails, and in whatever order it is asked for.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, Server, inSeconds, token } from "../server.mjs";
import { client, connected, next, subscribed, watched, within } from "./client.mjs";

let open;
let closed;

before(async () => {
  open = await Server.start();
  closed = await Server.start(`
    [client]
    channel_limit = 5
    allow_anonymous_connect_without_token = true
    [client.token]
    hmac_secret_key = "${KEY}"
    [channel.without_namespace]
    allow_publish_for_subscriber = true
    allow_publish_for_anonymous = true
    [[channel.namespaces]]
    name = "public"
    allow_subscribe_for_client = true
    allow_subscribe_for_anonymous = true
    [[channel.namespaces]]
    name = "between"
    allow_user_limited_channels = true
  `);
});

after(async () => {
  assert.equal(await open.stop(), 0);
  assert.equal(await closed.stop(), 0);
});

/** Asserts that `made` may not subscribe to `channel`. */
async function isRefused(made, channel, code, options) {
  const subscription = made.newSubscription(channel, options);
  subscription.subscribe();
  assert.equal((await next(subscription, "unsubscribed")).code, code);
}

test("a client subscribes, unsubscribes and subscribes again", async (t) => {
  const made = await connected(t, open);
  const room = await subscribed(made, "room");
  const left = next(room, "unsubscribed");
  room.unsubscribe();
  assert.equal((await left).code, 0);
  const received = next(room, "publication");
  const other = await connected(t, open);
  await other.publish("room", "nobody hears this");
  room.subscribe();
  await within(room.ready(), "the second subscription");
  await other.publish("room", "hello again");
  assert.equal((await received).data, "hello again");
});

test("a room that is not open to clients refuses with 103", async (t) => {
  await isRefused(await connected(t, closed), "room", 103);
});

test("an unknown namespace refuses with 102", async (t) => {
  await isRefused(await connected(t, closed), "unknown:room", 102);
  await isRefused(await connected(t, open), "unknown:room", 102);
});

test("a name that is too long refuses with 107", async (t) => {
  await isRefused(await connected(t, open), "x".repeat(256), 107);
});

test("one room above the limit refuses with 106", async (t) => {
  const made = await connected(t, closed);
  await Promise.all([1, 2, 3, 4, 5].map((room) => subscribed(made, `public:${room}`)));
  await isRefused(made, "public:6", 106);
});

test("a user-limited room is for the users it names", async (t) => {
  const ann = await connected(t, closed, { token: token({ sub: "ann" }) });
  await subscribed(ann, "between:us#ann,bob");
  const eve = await connected(t, closed, { token: token({ sub: "eve" }) });
  await isRefused(eve, "between:us#ann,bob", 103);
});

test("a private room asks for a subscription token", async (t) => {
  const made = await connected(t, closed);
  await isRefused(made, "$private", 103);
  const room = await subscribed(made, "$private-2", {
    token: token({ channel: "$private-2", info: { role: "guest" } }),
  });
  const received = next(room, "publication");
  await room.publish("in private");
  const { data, info } = await received;
  assert.deepEqual([data, info.chanInfo], ["in private", { role: "guest" }]);
});

test("getToken of a subscription is asked with the room's name", async (t) => {
  const made = await connected(t, closed);
  const asked = [];
  const getToken = async ({ channel }) => {
    asked.push(channel);
    return token({ channel });
  };
  await subscribed(made, "$asked", { getToken });
  assert.deepEqual(asked, ["$asked"]);
});

test("a subscription token with a wrong signature refuses with 103", async (t) => {
  const made = await connected(t, closed);
  await isRefused(made, "$forged", 103, {
    token: token({ channel: "$forged" }, "another key of a sufficient length, for tests"),
  });
});

test("a token for another room ends the client", async (t) => {
  const made = await connected(t, closed);
  made.newSubscription("$here", { token: token({ channel: "$there" }) }).subscribe();
  assert.equal((await next(made, "disconnected")).code, 3500);
});

test("an expired subscription token makes the SDK ask for another", async (t) => {
  const made = await connected(t, closed);
  let asked = 0;
  await subscribed(made, "$expired", {
    token: token({ channel: "$expired", exp: inSeconds(-60) }),
    minResubscribeDelay: 20,
    maxResubscribeDelay: 200,
    getToken: async ({ channel }) => {
      asked += 1;
      return token({ channel, exp: inSeconds(600) });
    },
  });
  assert.equal(asked, 1);
});

test("a subscription is refreshed before it expires and goes on", async (t) => {
  const { seen, websocket } = watched();
  const made = await connected(t, closed, { websocket });
  let asked = 0;
  const thrice = new Promise((resolve) => {
    const getToken = async ({ channel }) => {
      asked += 1;
      if (asked === 3) {
        resolve();
      }
      return token({ channel, exp: inSeconds(2) });
    };
    const room = made.newSubscription("$short", { getToken });
    room.on("unsubscribed", () => assert.fail("it never ends"));
    t.after(() => room.removeAllListeners("unsubscribed"));
    room.subscribe();
  });
  await within(thrice, "two refreshes");
  assert.ok(seen.received.some((frame) => frame.includes('"sub_refresh":{"expires":true')));
});

test("unsubscribing right after connect leaves nothing behind", async (t) => {
  const { seen, websocket } = watched();
  const made = client(t, open, { websocket });
  const room = made.newSubscription("brief");
  room.subscribe();
  made.connect();
  await within(made.ready(), "a connection");
  room.unsubscribe();
  // The reply to a later command comes after those to earlier ones.
  assert.equal((await made.presenceStats("brief").catch(({ code }) => code)), 108);
  assert.equal(room.state, "unsubscribed");
  assert.ok(!seen.received.some((frame) => frame.includes('"error":{"code":105')));
});

test("loops of subscribe and unsubscribe end as the last one says", async (t) => {
  const made = await connected(t, open);
  const room = made.newSubscription("loop");
  for (let i = 0; i < 200; i++) {
    room.subscribe();
    room.unsubscribe();
  }
  room.subscribe();
  await within(room.ready(), "the last subscription");
  const received = next(room, "publication");
  await made.publish("loop", "still here");
  assert.equal((await received).data, "still here");
  for (let i = 0; i < 50; i++) {
    room.unsubscribe();
    room.subscribe();
    await within(room.ready(), `subscription ${i}`);
  }
});

test("a hundred rooms are subscribed to at once", async (t) => {
  const made = await connected(t, open);
  const rooms = await Promise.all(Array.from({ length: 100 }, (_, i) => subscribed(made, `many-${i}`)));
  const received = Promise.all(rooms.map((room) => next(room, "publication")));
  await Promise.all(rooms.map((room, i) => room.publish(i)));
  assert.deepEqual(
    (await received).map(({ data }) => data),
    rooms.map((_, i) => i),
  );
});
