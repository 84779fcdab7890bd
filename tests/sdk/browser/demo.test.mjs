// The demo at /demo in headless Chromium, against a throng that was told nothing: two windows chat, one loses its
// network and recovers what the other wrote.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { KEY, Server } from "../server.mjs";
import { launch } from "./browser.mjs";

const SCREENSHOTS = fileURLToPath(new URL("../../../target/screenshots/", import.meta.url));

let server;
let browser;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0);
});

/**
 * A window of its own profile with the demo open as `name` in `room`; it fails the test with whatever goes wrong in
 * it. With `via`, the page is told that clients connect there, which its policy would not let it do.
 */
async function open(t, { name, room = "lobby", colorScheme = "light", width = 1000, height = 640, via, on = server } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: via !== undefined });
  t.after(() => context.close());
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.stack));
  t.after(() => assert.deepEqual(errors, []));
  if (name !== undefined) {
    await context.addInitScript((name) => sessionStorage.getItem("name") ?? sessionStorage.setItem("name", JSON.stringify(name)), name);
  }
  if (via !== undefined) {
    await page.route("**/demo/token**", async (route) => {
      // A server that is down has no answer, as without this detour.
      const response = await route.fetch().catch(() => undefined);
      if (response === undefined) return route.abort();
      await route.fulfill({ response, json: { ...(await response.json()), url: via } });
    });
  }
  await page.goto(`${on.admin}/demo#${room}`);
  return page;
}

const connected = (page) => page.waitForSelector('#status[data-state="connected"]');

async function say(page, words) {
  await page.fill("#text", words);
  await page.press("#text", "Enter");
}

/** The messages that a window shows: [who, words]. */
const messages = (page) =>
  page.$$eval("#messages .message:not(.unsent)", (items) =>
    items.map((item) => [item.querySelector("b").textContent, item.querySelector("p").textContent]),
  );

/** Waits until a window shows `words` as its last message; returns all of them. */
async function until(page, words) {
  await page.waitForFunction((words) => {
    const last = [...document.querySelectorAll("#messages .message:not(.unsent) p")].at(-1);
    return last?.textContent === words;
  }, words);
  return messages(page);
}

/** Waits until a window lists exactly these people. */
const present = (page, ...people) =>
  page.waitForFunction(
    (people) => JSON.stringify([...document.querySelectorAll("#members li")].map((item) => item.textContent)) === people,
    JSON.stringify(people),
  );

/** Waits until the badge of `room` says `count`; "" is no badge. */
const unread = (page, room, count) =>
  page.waitForFunction(
    ([room, count]) => (document.querySelector(`#rooms [data-room="${room}"] .unread`)?.textContent ?? "") === count,
    [room, count],
  );

const go = (page, room) => page.click(`#rooms [data-room="${room}"]`);

test("two windows chat, see each other, and who is typing", async (t) => {
  const ada = await open(t, { name: "Ada" });
  const alan = await open(t, { name: "Alan", colorScheme: "dark" });
  await Promise.all([ada, alan].map(connected));
  await Promise.all([present(ada, "Ada (you)", "Alan"), present(alan, "Ada", "Alan (you)")]);
  await ada.locator("#text").pressSequentially("Hel");
  await alan.waitForFunction(() => document.querySelector("#typing").textContent === "Ada is typing …");
  await say(ada, "Hello from the first window");
  assert.deepEqual(await until(alan, "Hello from the first window"), [["Ada", "Hello from the first window"]]);
  await say(alan, "Hello from the second 👋🏽");
  await until(ada, "Hello from the second 👋🏽");
  await say(ada, "Grüße an die 世界, and a line that is long enough to be broken in two or three by any window that people read on");
  await Promise.all([ada, alan].map((page) => page.waitForFunction(() => document.querySelectorAll(".message").length === 3)));
  assert.deepEqual((await messages(ada)).map(([who]) => who), ["You", "Alan", "You"]);
  assert.equal(await alan.$eval("#typing", (typing) => typing.textContent), "");
  await say(ada, "waiting for nobody");
  await until(alan, "waiting for nobody");
  await ada.screenshot({ path: `${SCREENSHOTS}demo-light.png` });
  await alan.screenshot({ path: `${SCREENSHOTS}demo-dark.png` });
  await alan.context().close();
  await present(ada, "Ada (you)");
});

test("unread messages are counted for each room, and a room that is opened is read on every device", async (t) => {
  const hedy = await open(t, { name: "Hedy", room: "kitchen" });
  const grace = await open(t, { name: "Grace" });
  const phone = await open(t, { name: "grace", width: 360, height: 640 });
  await Promise.all([hedy, grace, phone].map(connected));
  await present(grace, "Grace (you, 2 windows)", "Hedy");
  for (const words of ["one", "two", "three"]) await say(hedy, words);
  await Promise.all([unread(grace, "kitchen", "3"), unread(phone, "kitchen", "3"), unread(grace, "lobby", "")]);
  assert.match(await grace.title(), /^\(3\) lobby/);
  await phone.screenshot({ path: `${SCREENSHOTS}demo-phone-unread.png` });
  await go(grace, "kitchen");
  assert.deepEqual(await until(grace, "three"), [["Hedy", "one"], ["Hedy", "two"], ["Hedy", "three"]]);
  await unread(grace, "kitchen", "");
  // The cursor is the server's: who comes anew under the same name has read it too.
  await grace.waitForFunction(() => document.title.startsWith("kitchen"));
  await phone.reload();
  await connected(phone);
  await unread(phone, "lobby", "");
  await phone.waitForFunction(() => document.querySelectorAll("#members li").length > 0);
  await unread(phone, "kitchen", "");
});

test("a window that loses its network gets every message that it missed, in order and once", async (t) => {
  const proxy = await Proxy.to(server);
  t.after(() => proxy.close());
  const away = await open(t, { name: "Edsger", room: "recovery", via: proxy.url });
  const there = await open(t, { name: "Frances", room: "recovery" });
  await Promise.all([away, there].map(connected));
  await say(there, "before");
  await until(away, "before");
  proxy.cut();
  await away.waitForSelector('#status[data-state="waiting"]');
  await present(there, "Frances (you)");
  const missed = Array.from({ length: 12 }, (_, i) => `missed ${i + 1}`);
  for (const words of missed) await say(there, words);
  await until(there, "missed 12");
  // What is said meanwhile waits, and is said when there is a network again.
  await say(away, "said without a network");
  await away.waitForSelector(".message.unsent");
  proxy.mend();
  await Promise.all([until(there, "said without a network"), connected(away)]);
  await away.waitForSelector('.note.caught:has-text("caught up: 12 messages")');
  const words = (await until(away, "said without a network")).map(([, words]) => words);
  assert.deepEqual(words, ["before", ...missed, "said without a network"]);
  await away.waitForFunction(() => document.querySelector(".message.unsent") === null);
  await present(there, "Edsger", "Frances (you)");
  await away.screenshot({ path: `${SCREENSHOTS}demo-recovered.png` });
});

test("the button takes a window off the network and back, and nothing is lost or shown twice", async (t) => {
  const ken = await open(t, { name: "Ken", room: "button" });
  const joan = await open(t, { name: "Joan", room: "button" });
  await Promise.all([ken, joan].map(connected));
  for (let round = 1; round <= 3; round += 1) {
    await ken.click("#network");
    await ken.waitForSelector('#status[data-state="offline"]');
    await present(joan, "Joan (you)");
    await say(joan, `round ${round}, a`);
    await say(joan, `round ${round}, b`);
    await until(joan, `round ${round}, b`);
    if (round === 2) await ken.screenshot({ path: `${SCREENSHOTS}demo-offline.png` });
    await ken.click("#network");
    await until(ken, `round ${round}, b`);
  }
  const expected = [1, 2, 3].flatMap((round) => [`round ${round}, a`, `round ${round}, b`]);
  assert.deepEqual((await messages(ken)).map(([, words]) => words), expected);
  assert.equal(await ken.locator(".note.caught").count(), 3);
});

test("who missed more than is kept is told, and sees the latest", async (t) => {
  const late = await open(t, { name: "Leslie", room: "long" });
  const busy = await open(t, { name: "Radia", room: "long" });
  await Promise.all([late, busy].map(connected));
  await say(busy, "first");
  await until(late, "first");
  await late.click("#network");
  await late.waitForSelector('#status[data-state="offline"]');
  await busy.evaluate(async () => {
    for (let i = 1; i <= 310; i += 1) {
      // The room takes 100 a second; what is refused for now is said again.
      for (;;) {
        const data = { id: `n${i}`, text: `message ${i}` };
        const done = await client.call({ publish: { channel: "demo:long", data } }).then(() => true, () => false);
        if (done) break;
      }
    }
  });
  await late.click("#network");
  await late.waitForSelector(".note.lost");
  const shown = (await until(late, "message 310")).map(([, words]) => words);
  assert.deepEqual(shown, Array.from({ length: 50 }, (_, i) => `message ${261 + i}`));
});

test("a name and a message with markup stay text", async (t) => {
  const bold = "<b>Bob</b>";
  const attack = `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`;
  const writer = await open(t, { name: bold, room: "markup" });
  const reader = await open(t, { name: "Barbara", room: "markup" });
  await Promise.all([writer, reader].map(connected));
  await present(reader, bold, "Barbara (you)");
  await say(writer, attack);
  assert.deepEqual(await until(reader, attack), [[bold, attack]]);
  assert.equal(await reader.locator("#messages img, #messages script, #members b").count(), 0);
  // What the API or another client publishes may be any JSON.
  await writer.evaluate(() => client.call({ publish: { channel: "demo:markup", data: ["<i>", { deep: 1 }] } }));
  await until(reader, '["<i>",{"deep":1}]');
  assert.match(await reader.title(), /markup/);
});

test("the page fits a phone, and can be used with keys alone", async (t) => {
  const page = await open(t, { name: "Dennis", width: 360, height: 640, colorScheme: "dark" });
  await connected(page);
  await say(page, "from a phone, with a_word_that_is_too_long_for_any_phone_that_was_ever_built_by_anybody");
  await page.waitForSelector(".message:not(.unsent)");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it scrolls sideways");
  await page.screenshot({ path: `${SCREENSHOTS}demo-phone.png` });
  await page.press("#text", "Alt+ArrowDown");
  await page.waitForFunction(() => location.hash === "#kitchen");
  await page.focus('#rooms [data-room="garden"]');
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash === "#garden");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.room), "garden");
  await page.fill("#room", "My  Café!");
  await page.press("#room", "Enter");
  await page.waitForFunction(() => location.hash === "#my-caf");
  await say(page, "alone here");
  await until(page, "alone here");
  await page.click("#wire summary");
  await page.screenshot({ path: `${SCREENSHOTS}demo-wire.png` });
});

test("it goes on with another server on the same address, whose key is another", async (t) => {
  let own = await Server.start();
  const { address } = own;
  const proxy = await Proxy.to(own);
  t.after(() => proxy.close());
  const page = await open(t, { name: "Ada", on: { admin: proxy.admin }, via: proxy.url });
  await connected(page);
  await own.kill();
  await page.waitForSelector('#status[data-state="waiting"]');
  own = await Server.start(undefined, { listen: address });
  t.after(() => own.stop());
  proxy.admins = new URL(own.admin).port;
  await connected(page);
  await say(page, "still here");
  await until(page, "still here");
});

test("where tokens are configured there is no demo unless it is asked for, and then it keeps to itself", async (t) => {
  const secured = `drain_ms = 0\nclient.token.hmac_secret_key = "${KEY}"\nallowed_origins = ["http://127.0.0.1:*"]\n`;
  const closed = await Server.start(secured);
  t.after(() => closed.stop());
  for (const path of ["/demo", "/demo/token?name=Ada"]) {
    const response = await fetch(`${closed.admin}${path}`);
    assert.equal(response.status, 404);
    assert.match(await response.text(), /^the demo is off; `enabled = true` under \[demo\].*\n$/);
  }
  const asked = await Server.start(`${secured}demo.enabled = true`);
  t.after(() => asked.stop());
  const page = await open(t, { name: "Ada", on: asked });
  await connected(page);
  await say(page, "with a token of the operator's key");
  await until(page, "with a token of the operator's key");
});

/** What stands between a window and a server, and can be cut: two listeners, for clients and for the admin's. */
class Proxy {
  #sockets = new Set();
  #listeners = [];
  #isCut = false;

  static async to({ url, admin }) {
    const proxy = new Proxy();
    const { port, pathname } = new URL(url);
    proxy.admins = new URL(admin).port;
    proxy.url = `ws://127.0.0.1:${await proxy.#listen(() => port)}${pathname}`;
    proxy.admin = `http://127.0.0.1:${await proxy.#listen(() => proxy.admins)}`;
    return proxy;
  }

  async #listen(target) {
    const listener = createServer((inner) => {
      if (this.#isCut) return inner.destroy();
      const outer = createConnection({ host: "127.0.0.1", port: target() });
      for (const [socket, other] of [[inner, outer], [outer, inner]]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    this.#listeners.push(listener);
    await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
    return listener.address().port;
  }

  /** Breaks what is open, and refuses what comes. */
  cut() {
    this.#isCut = true;
    this.#sockets.forEach((socket) => socket.destroy());
  }

  mend() {
    this.#isCut = false;
  }

  close() {
    this.cut();
    this.#listeners.forEach((listener) => listener.close());
  }
}
