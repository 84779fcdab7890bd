// examples/chat in headless Chromium, against a throng that was told nothing: what a newcomer does.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../../../examples/chat/serve.mjs";
import { Server } from "../server.mjs";
import { launch } from "./browser.mjs";

const SCREENSHOTS = fileURLToPath(new URL("../../../target/screenshots/", import.meta.url));

/** A name that Chromium takes for a site somewhere else; it is resolved to this machine. */
const FOREIGN = "foreign.example";

let server;
let pages;
let browser;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  server = await Server.start();
  pages = await serve(0);
  browser = await launch(`--host-resolver-rules=MAP ${FOREIGN} 127.0.0.1`);
});

after(async () => {
  await browser?.close();
  pages?.close();
  assert.equal(await server?.stop(), 0);
});

/** A tab of its own profile with the chat page open. */
async function tab(t, { host = "localhost", name = "Ada", room = "lobby", colorScheme = "light" } = {}) {
  const context = await browser.newContext({ viewport: { width: 720, height: 480 }, colorScheme });
  t.after(() => context.close());
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  t.after(() => assert.deepEqual(errors, []));
  const query = new URLSearchParams({ server: server.url });
  await page.goto(`http://${host}:${pages.address().port}/?${query}#${room}`);
  await page.fill("#name", name);
  return page;
}

/** Waits until a tab is connected and in its room. */
async function connected(page) {
  await page.waitForSelector('#status[data-state="connected"]');
}

async function say(page, words) {
  await page.fill("#text", words);
  await page.press("#text", "Enter");
}

/** Waits until a tab shows `count` messages; returns them as [name, text, whether it is its own]. */
async function shown(page, count) {
  await page.waitForFunction((count) => document.querySelectorAll("#messages li").length === count, count);
  return page.$$eval("#messages li", (items) =>
    items.map((item) => [
      item.querySelector("small").textContent,
      item.lastChild.textContent,
      item.classList.contains("mine"),
    ]),
  );
}

test("two tabs chat", async (t) => {
  const ada = await tab(t, { name: "Ada" });
  const alan = await tab(t, { name: "Alan", host: "127.0.0.1", colorScheme: "dark" });
  await Promise.all([ada, alan].map(connected));
  const talk = [
    [ada, "Ada", "Hello from the first tab"],
    [alan, "Alan", "Hello from the second 👋🏽"],
    [ada, "Ada", "<b>Grüße</b> & 世界"],
  ];
  for (const [index, [page, , words]] of talk.entries()) {
    await say(page, words);
    await Promise.all([ada, alan].map((other) => shown(other, index + 1)));
  }
  for (const page of [ada, alan]) {
    assert.deepEqual(
      await shown(page, 3),
      talk.map(([writer, name, words]) => [name, words, writer === page]),
    );
  }
  await ada.screenshot({ path: `${SCREENSHOTS}chat-light.png` });
  await alan.screenshot({ path: `${SCREENSHOTS}chat-dark.png` });
});

test("rooms do not hear each other, and a tab can change its room", async (t) => {
  const ada = await tab(t, { room: "kitchen" });
  const alan = await tab(t, { room: "garden", name: "Alan" });
  await Promise.all([ada, alan].map(connected));
  await say(ada, "in the kitchen");
  await shown(ada, 1);
  assert.deepEqual(await shown(alan, 0), []);
  await alan.fill("#room", "kitchen");
  await alan.press("#room", "Enter");
  await alan.waitForFunction(() => document.title.startsWith("kitchen"));
  await connected(alan);
  // Its subscribe comes before its publish: whoever hears the one was a member for the other.
  await say(alan, "here I am");
  assert.deepEqual(await shown(alan, 1), [["Alan", "here I am", true]]);
  assert.equal((await shown(ada, 2)).length, 2);
});

test("a page of a foreign site is refused", async (t) => {
  const refused = () => server.metric('throng_upgrades_refused_total{reason="origin"}');
  const before = await refused();
  const page = await tab(t, { host: FOREIGN });
  assert.equal(await page.evaluate(() => location.origin), `http://${FOREIGN}:${pages.address().port}`);
  await page.waitForSelector('#status[data-state="connecting"]:has-text("waiting for")');
  assert.ok((await refused()) > before);
  assert.equal(await page.locator("button").isDisabled(), true);
});

test("two browser consoles chat", async (t) => {
  const consoles = await Promise.all([tab(t), tab(t)]);
  const heard = consoles.map((page) =>
    page.evaluate(
      (url) =>
        new Promise((resolve) => {
          const c = new Centrifuge(url);
          window.room = c.newSubscription("consoles");
          window.room.on("publication", ({ data }) => resolve(data));
          window.room.subscribe();
          c.connect();
        }),
      server.url,
    ),
  );
  await Promise.all(consoles.map((page) => page.evaluate(() => window.room.ready())));
  await consoles[0].evaluate(() => window.room.publish({ text: "hello" }));
  assert.deepEqual(await Promise.all(heard), [{ text: "hello" }, { text: "hello" }]);
});
