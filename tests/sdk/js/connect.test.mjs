// Connecting: who may, with what, and how a client ends and comes back.

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
    expired_close_delay_ms = 0
    [client.token]
    hmac_secret_key = "${KEY}"
    [channel.without_namespace]
    presence = true
    allow_subscribe_for_client = true
    allow_publish_for_client = true
    allow_presence_for_client = true
  `);
});

after(async () => {
  assert.equal(await open.stop(), 0);
  assert.equal(await closed.stop(), 0);
});

test("an anonymous client connects to a server on loopback", async (t) => {
  const anonymous = client(t, open);
  anonymous.connect();
  const context = await next(anonymous, "connected");
  assert.match(context.client, /^[0-9a-f-]{36}$/);
  assert.equal(context.transport, "websocket");
});

test("two clients have two ids", async (t) => {
  const ids = [];
  for (let i = 0; i < 2; i++) {
    const made = client(t, open);
    made.connect();
    ids.push((await next(made, "connected")).client);
  }
  assert.notEqual(ids[0], ids[1]);
});

test("a client disconnects and connects again", async (t) => {
  const made = await connected(t, open);
  const left = next(made, "disconnected");
  made.disconnect();
  assert.equal((await left).code, 0);
  made.connect();
  await within(made.ready(), "the second connection");
});

test("a client with a token is the user that the token names", async (t) => {
  const ann = await connected(t, closed, { token: token({ sub: "ann", info: { nick: "Ann" } }) });
  const room = await subscribed(ann, "who");
  const { clients } = await room.presence();
  assert.deepEqual(
    Object.values(clients).map(({ user, connInfo }) => ({ user, connInfo })),
    [{ user: "ann", connInfo: { nick: "Ann" } }],
  );
});

test("getToken is asked when there is no token", async (t) => {
  let asked = 0;
  const getToken = async () => {
    asked += 1;
    return token({ sub: "ann" });
  };
  await connected(t, closed, { getToken });
  assert.equal(asked, 1);
});

test("an expired token makes the client ask getToken and come back", async (t) => {
  let asked = 0;
  const getToken = async () => {
    asked += 1;
    return token({ sub: "ann", exp: inSeconds(600) });
  };
  await connected(t, closed, { token: token({ sub: "ann", exp: inSeconds(-60) }), getToken });
  assert.equal(asked, 1);
});

test("a connection is refreshed before it expires and goes on", async (t) => {
  const { seen, websocket } = watched();
  let asked = 0;
  const thrice = new Promise((resolve) => {
    const getToken = async () => {
      asked += 1;
      if (asked === 3) {
        resolve();
      }
      return token({ sub: "ann", exp: inSeconds(2) });
    };
    client(t, closed, { getToken, websocket }).connect();
  });
  await within(thrice, "two refreshes");
  assert.equal(seen.sockets.length, 1, "on the connection it had");
  const replies = seen.received.join("\n").split("\n");
  assert.ok(replies.some((reply) => JSON.parse(reply).refresh?.expires));
});

test("a token with a wrong signature ends the client for good", async (t) => {
  const made = client(t, closed, { token: token({ sub: "ann" }, "another key of a sufficient length, for tests") });
  made.connect();
  const context = await next(made, "disconnected");
  assert.deepEqual([context.code, context.reason], [3500, "invalid token"]);
});

test("a client without a token ends for good where tokens are asked for", async (t) => {
  const made = client(t, closed);
  made.connect();
  assert.equal((await next(made, "disconnected")).code, 3501);
});

test("a token may subscribe its client to rooms", async (t) => {
  const reader = client(t, closed, { token: token({ sub: "ann", channels: ["news"] }) });
  const granted = next(reader, "subscribed");
  reader.connect();
  assert.equal((await granted).channel, "news");
  const writer = await connected(t, closed, { token: token({ sub: "bob" }) });
  const received = next(reader, "publication");
  await writer.publish("news", { headline: "it works" });
  const { channel, data, info } = await received;
  assert.deepEqual([channel, data, info.user], ["news", { headline: "it works" }, "bob"]);
});

test("several subscriptions travel in one frame with connect", async (t) => {
  const { seen, websocket } = watched();
  const made = client(t, open, { websocket });
  const subscriptions = Array.from({ length: 10 }, (_, i) => made.newSubscription(`frame-${i}`));
  subscriptions.forEach((subscription) => subscription.subscribe());
  made.connect();
  await within(Promise.all(subscriptions.map((subscription) => subscription.ready())), "ten subscriptions");
  assert.equal(seen.sent[0].split("\n").length, 11, "connect and ten subscribes");
});

test("a client comes back to a restarted server with its subscriptions", async (t) => {
  const config = "drain_ms = 0";
  let server = await Server.start(config);
  t.after(() => server.stop());
  const made = await connected(t, server);
  const room = await subscribed(made, "room");
  const [away, back] = [next(made, "connecting"), next(made, "connected")];
  const again = next(room, "subscribed");
  assert.equal(await server.stop(), 0);
  const context = await away;
  assert.deepEqual([context.code, context.reason], [3001, "shutdown"]);
  server = await Server.start(config, { listen: server.address });
  await back;
  await again;
  const received = next(room, "publication");
  await room.publish("after the restart");
  assert.equal((await received).data, "after the restart");
});
