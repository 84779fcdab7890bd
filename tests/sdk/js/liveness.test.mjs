// Pings and pongs: an SDK that answers stays, whoever does not is closed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server } from "../server.mjs";
import { Raw, connected, next, watched, within } from "./client.mjs";

let server;

before(async () => {
  server = await Server.start("[client]\nping_interval_ms = 500\npong_timeout_ms = 400");
});

after(async () => assert.equal(await server.stop(), 0));

test("an SDK that answers pings stays connected", async (t) => {
  const { seen, websocket } = watched();
  const made = await connected(t, server, { websocket });
  made.on("connecting", () => assert.fail("it must not reconnect"));
  t.after(() => made.removeAllListeners("connecting"));
  const pinged = new Promise((resolve) => {
    const check = () => seen.received.filter((frame) => frame === "{}").length >= 4 && resolve();
    seen.sockets[0].on("message", check);
  });
  await within(pinged, "four pings");
  await made.publish("room", "still there");
  assert.ok(seen.sent.filter((frame) => frame === "{}").length >= 4);
  assert.equal(seen.sockets.length, 1);
});

test("a client that does not answer pings is closed with 3012", async (t) => {
  const silent = await Raw.open(t, server);
  await silent.ask('{"id":1,"connect":{}}');
  assert.deepEqual(await within(silent.closed, "the close"), [3012, "no pong"]);
});

test("an SDK that is kept from answering is closed with 3012 and comes back", async (t) => {
  const { websocket } = watched();
  class Mute extends websocket {
    send(data, ...rest) {
      if (data !== "{}") {
        super.send(data, ...rest);
      }
    }
  }
  const made = await connected(t, server, { websocket: Mute });
  const back = next(made, "connected");
  const { code, reason } = await next(made, "connecting");
  assert.deepEqual([code, reason], [3012, "no pong"]);
  await back;
});
