// Personal rooms: what is sent to a user arrives, at once or when the user comes back.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { KEY, Server, token } from "../server.mjs";
import { client, connected, failsWith, next, within } from "./client.mjs";

/** Options of a room for one person, who may read it again; anybody with a name may write there. */
const OPTIONS = `
    history_size = 100
    history_ttl = "1h"
    force_recovery = true
    allow_publish_for_client = true
    allow_history_for_subscriber = true
`;

const HEAD = `
    drain_ms = 0
    [client]
    allow_anonymous_connect_without_token = true
    [client.token]
    hmac_secret_key = "${KEY}"
    [client.subscribe_to_user_personal_channel]
    enabled = true
`;

let plain;
let named;

before(async () => {
  plain = await Server.start(`${HEAD}
    [channel.without_namespace]
    ${OPTIONS}
  `);
  named = await Server.start(`${HEAD}
    personal_channel_namespace = "mail"
    [channel.without_namespace]
    allow_subscribe_for_client = true
    [[channel.namespaces]]
    name = "mail"
    ${OPTIONS}
  `);
});

after(async () => {
  assert.equal(await plain.stop(), 0);
  assert.equal(await named.stop(), 0);
});

/** Offsets and data of publications. */
const items = (publications) => publications.map(({ offset, data }) => [offset, data]);

/** A client of `user` and what it sees of its own room; resolves once it is subscribed there. */
async function person(t, server, user) {
  const made = client(t, server, { token: token({ sub: user }) });
  const seen = [];
  made.on("publication", (context) => seen.push(context));
  const granted = next(made, "subscribed");
  made.connect();
  return { made, seen, context: await granted };
}

for (const [where, of, channel] of [["no namespace", () => plain, "#"], ["a namespace", () => named, "mail:#"]]) {
  test(`a user is in a room of its own without asking, in ${where}`, async (t) => {
    const { made, context } = await person(t, of(), "ann");
    assert.deepEqual([context.channel, context.recoverable, context.positioned], [`${channel}ann`, true, true]);
    const bob = await connected(t, of(), { token: token({ sub: "bob" }) });
    const received = next(made, "publication");
    await bob.publish(`${channel}ann`, "to ann");
    const got = await received;
    assert.deepEqual([got.channel, got.data, got.info.user], [`${channel}ann`, "to ann", "bob"]);
  });

  test(`what was sent to a user who was away arrives when it comes back, in ${where}`, async (t) => {
    const room = `${channel}carol`;
    const { made, seen } = await person(t, of(), "carol");
    const bob = await connected(t, of(), { token: token({ sub: "bob" }) });
    await bob.publish(room, "first");
    await made.history(room);
    made.disconnect();
    for (const text of ["second", "third"]) {
      await bob.publish(room, text);
    }
    const back = next(made, "subscribed");
    made.connect();
    const { wasRecovering, recovered } = await back;
    assert.deepEqual([wasRecovering, recovered], [true, true]);
    await bob.publish(room, "fourth");
    await made.history(room);
    assert.deepEqual(items(seen), [[1, "first"], [2, "second"], [3, "third"], [4, "fourth"]]);
  });
}

test("what was sent to a user arrives at each of its connections, and at nobody else's", async (t) => {
  const people = await Promise.all(["dan", "dan", "eve"].map((user) => person(t, plain, user)));
  const bob = await connected(t, plain, { token: token({ sub: "bob" }) });
  await bob.publish("#dan", "to dan");
  await Promise.all(people.map(({ made, context }) => made.history(context.channel)));
  assert.deepEqual(people.map(({ seen }) => items(seen)), [[[1, "to dan"]], [[1, "to dan"]], []]);
});

test("a user whose server is ended and starts again gets what came meanwhile", async (t) => {
  const config = `${HEAD}
    [channel.without_namespace]
    ${OPTIONS}
  `;
  const data = mkdtempSync(join(tmpdir(), "throng-personal-"));
  let server = await Server.start(config, { data });
  t.after(async () => {
    await server.stop();
    rmSync(data, { recursive: true });
  });
  const { made, seen } = await person(t, server, "fred");
  const bob = await connected(t, server, { token: token({ sub: "bob" }) });
  made.disconnect();
  await bob.publish("#fred", "before");
  const away = next(bob, "connecting");
  await server.kill();
  await away;
  server = await Server.start(config, { listen: server.address, data });
  await within(bob.ready(), "the sender to come back");
  await bob.publish("#fred", "after");
  const back = next(made, "subscribed");
  made.connect();
  assert.ok((await back).recovered);
  await made.history("#fred");
  assert.deepEqual(items(seen), [[1, "before"], [2, "after"]]);
});

test("the anonymous user has no room of its own", async (t) => {
  const made = client(t, plain);
  made.on("subscribed", ({ channel }) => assert.fail(channel));
  t.after(() => made.removeAllListeners("subscribed"));
  made.connect();
  await within(made.ready(), "a connection");
  await failsWith(103, made.history("#"));
});

test("nobody subscribes to the room of another user, and nobody twice to its own", async (t) => {
  const { made } = await person(t, named, "gina");
  const other = await connected(t, named, { token: token({ sub: "hugo" }) });
  for (const [who, code] of [[made, 105], [other, 103]]) {
    const subscription = who.newSubscription("mail:#gina");
    subscription.subscribe();
    assert.equal((await next(subscription, "unsubscribed")).code, code);
  }
});
