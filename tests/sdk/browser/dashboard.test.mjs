// The dashboard in headless Chromium: figures that match what clients do, in the light, in the dark and on a
// phone; a drain by keyboard alone; a key where one is needed; and nothing that is fetched from elsewhere.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Server } from "../server.mjs";
import { launch } from "./browser.mjs";

const SCREENSHOTS = fileURLToPath(new URL("../../../target/screenshots/", import.meta.url));

const MEMBERS = 8;
const KEY = "a-key-of-the-API-for-tests";

let browser;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await launch();
});

after(() => browser?.close());

/** What clients run: opens a connection that is a member of `room`, and tells with which code it ends. */
function member(url, room) {
  const socket = new WebSocket(url);
  const closed = new Promise((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)));
  const joined = new Promise((resolve, reject) => {
    socket.addEventListener("close", () => reject(new Error("closed")));
    socket.addEventListener("open", () => {
      socket.send(`{"id":1,"connect":{}}\n${JSON.stringify({ id: 2, subscribe: { channel: room } })}`);
    });
    socket.addEventListener("message", ({ data }) => {
      for (const line of data.split("\n")) {
        if (line === "{}") socket.send("{}");
        else if (JSON.parse(line).id === 2) resolve();
      }
    });
  });
  let id = 2;
  const publish = (data) => socket.send(JSON.stringify({ id: (id += 1), publish: { channel: room, data } }));
  return { joined, closed, publish };
}

/** A server and `MEMBERS` clients in a tab, of whom one says something ten times a second until the test ends. */
async function served(t, config) {
  const server = await Server.start(config);
  // In the reverse order of their beginnings: nobody is to see the server go.
  const ends = [() => server.stop()];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const context = await browser.newContext();
  ends.push(() => context.close());
  const clients = await context.newPage();
  await clients.goto(`${server.admin}/healthz`);
  await clients.evaluate(
    async ([member, url, count]) => {
      window.member = new Function(`return ${member}`)();
      window.members = Array.from({ length: count }, (_, at) => window.member(url, at < 6 ? "lobby <b>1</b>" : "quiet"));
      await Promise.all(window.members.map(({ joined }) => joined));
      setInterval(() => window.members[0].publish({ text: "hello" }), 100);
    },
    [String(member), server.url, MEMBERS],
  );
  return { server, clients, ends };
}

/** The dashboard in a tab of its own; the test fails on what the console says and on foreign requests. */
async function open({ server, ends }, { width = 1100, height = 900, colorScheme = "light", path = "/dashboard", said = [] } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  ends.push(() => context.close());
  const page = await context.newPage();
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => said.push(message.text()));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${server.admin}/`)) said.push(`request to ${request.url()}`);
  });
  ends.push(() => assert.deepEqual(said, []));
  await page.goto(`${server.admin}${path}`);
  return page;
}

/** Waits until the element `id` says something that matches. */
function says(page, id, pattern) {
  return page.waitForFunction(([id, source]) => new RegExp(source).test(document.getElementById(id).textContent), [
    id,
    pattern.source,
  ]);
}

/** Waits until the page shows live figures of a server that is used. */
async function live(page) {
  await says(page, "connections", new RegExp(`^${MEMBERS}$`));
  await says(page, "rooms", /lobby/);
  await says(page, "p99", /(µs|ms)$/);
}

/** Colours that text and ground have at least this contrast in: WCAG 2.2, 1.4.3. */
const CONTRAST_MIN = 4.5;

/** Every element with a text of its own whose contrast is too low. */
function paleTexts(page, least) {
  return page.evaluate((least) => {
    const rgba = (colour) => {
      const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
      return { channels: [red, green, blue], alpha };
    };
    const luminance = (channels) => {
      const [red, green, blue] = channels.map((channel) => {
        const part = channel / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const { channels, alpha } = rgba(getComputedStyle(at).backgroundColor);
        if (alpha === 1) return channels;
      }
      return [255, 255, 255];
    };
    const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== "";
    const texts = [...document.querySelectorAll("body *")].filter(
      (element) => element.checkVisibility() && [...element.childNodes].some(isText),
    );
    const pale = texts.filter((element) => {
      const [one, other] = [rgba(getComputedStyle(element).color).channels, ground(element)].map(luminance);
      return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < least;
    });
    return pale.filter((element) => !element.disabled).map((element) => element.outerHTML);
  }, least);
}

for (const [name, width, colorScheme] of [
  ["light", 1100, "light"],
  ["dark", 1100, "dark"],
  ["phone", 360, "light"],
  ["phone-dark", 360, "dark"],
]) {
  test(`figures of what clients do, ${name}`, async (t) => {
    const used = await served(t);
    const page = await open(used, { width, colorScheme });
    await live(page);
    assert.equal(await page.textContent("#phase"), "ready");
    assert.match(await page.textContent("#stream"), /^Live/);
    const [room] = await page.$$eval("#rooms tr", (rows) =>
      rows.map((row) => [...row.children].map((cell) => cell.textContent)),
    );
    assert.deepEqual(room.slice(0, 2), ["lobby <b>1</b>", "6"]);
    const shards = await page.$$eval("#shards tr td:nth-child(2)", (cells) => cells.map((cell) => Number(cell.textContent)));
    assert.equal(shards.reduce((sum, held) => sum + held), MEMBERS);
    assert.match(await page.textContent("#limits"), /RLIMIT_NOFILE8 of .* connections/);
    // Twenty beats of a history that is not empty make a line.
    await page.waitForFunction(() =>
      [...document.querySelectorAll("polyline")].every((line) => line.getAttribute("points").split(" ").length > 3),
    );
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    assert.deepEqual(await paleTexts(page, CONTRAST_MIN), []);
    await page.screenshot({ path: `${SCREENSHOTS}dashboard-${name}.png`, fullPage: true });
  });
}

test("nothing jumps from one beat to the next", async (t) => {
  const used = await served(t);
  const page = await open(used);
  await live(page);
  const places = () => page.$$eval("section, #figures li, h2", (parts) => parts.map((part) => part.getBoundingClientRect().top));
  const before = await places();
  const up = await page.textContent("#about");
  await page.waitForFunction((up) => document.getElementById("about").textContent !== up, up);
  assert.deepEqual(await places(), before);
});

/** Presses Tab until the element `id` has the focus. */
async function tabTo(page, id) {
  for (let presses = 0; presses < 20; presses += 1) {
    if ((await page.evaluate(() => document.activeElement.id)) === id) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach #${id}`);
}

test("a drain is asked for, refused, confirmed and cancelled by keyboard", async (t) => {
  const used = await served(t);
  const { server, clients } = used;
  const page = await open(used);
  await live(page);
  await tabTo(page, "drain-open");
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, "solid");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#drain-dialog[open]");
  assert.match(await page.textContent("#drain-dialog"), /closes 8 connections with code 3001/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "drain-no");
  await page.screenshot({ path: `${SCREENSHOTS}dashboard-dialog.png` });
  // Whoever presses Enter without reading has asked for nothing.
  await page.keyboard.press("Enter");
  await page.waitForSelector("#drain-dialog:not([open])", { state: "attached" });
  assert.equal((await fetch(`${server.admin}/readyz`)).status, 200);

  await page.keyboard.press("Enter");
  await page.waitForSelector("#drain-dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("#drain-dialog:not([open])", { state: "attached" });

  await page.keyboard.press("Enter");
  await page.fill("#drain-seconds", "600");
  await tabTo(page, "drain-yes");
  await page.keyboard.press("Enter");
  await says(page, "drain-text", /^Draining: \d of 8 connections closed, (9|10) min/);
  assert.equal((await fetch(`${server.admin}/readyz`)).status, 503);
  await says(page, "phase", /^draining$/);
  await page.screenshot({ path: `${SCREENSHOTS}dashboard-drain.png` });
  await tabTo(page, "drain-cancel");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#drain", { state: "hidden" });
  await says(page, "phase", /^ready$/);
  assert.equal((await fetch(`${server.admin}/readyz`)).status, 200);
  await clients.evaluate((url) => window.member(url, "lobby").joined, server.url);
});

test("a drain of no seconds ends the server, and the page says that it is gone", async (t) => {
  const used = await served(t);
  const said = [];
  const page = await open(used, { said });
  await live(page);
  await page.click("#drain-open");
  await page.fill("#drain-seconds", "0");
  await page.click("#drain-yes");
  const codes = await used.clients.evaluate(() => Promise.all(window.members.map(({ closed }) => closed)));
  assert.deepEqual(codes, Array(MEMBERS).fill(3001));
  await says(page, "stream", /What stands here is old; trying again/);
  assert.equal(await page.locator("#drain-open").isDisabled(), true);
  await page.screenshot({ path: `${SCREENSHOTS}dashboard-gone.png` });
  // Chromium itself tells the console of a connection that is refused.
  assert.ok(said.every((text) => /net::ERR_/.test(text)), said.join("\n"));
  said.length = 0;
});

test("where a key is needed the page asks for it and keeps it to itself", async (t) => {
  const { server, ends } = await served(t, `[http_api]\nkey = "${KEY}"\n`);
  const said = [];
  // What comes through a proxy is not this machine's own.
  const context = await browser.newContext({ extraHTTPHeaders: { "X-Forwarded-For": "192.0.2.7" } });
  ends.push(() => context.close());
  const page = await context.newPage();
  page.on("pageerror", (error) => said.push(String(error)));
  const response = await page.goto(`${server.admin}/dashboard`);
  assert.equal(response.status(), 401);
  await page.waitForSelector("#key-form:not([hidden])");
  assert.equal(await page.evaluate(() => document.activeElement.id), "key");
  await page.keyboard.type("not the key");
  await page.keyboard.press("Enter");
  await says(page, "stream", /not the key/);
  await page.fill("#key", KEY);
  await page.screenshot({ path: `${SCREENSHOTS}dashboard-key.png` });
  await page.keyboard.press("Enter");
  await live(page);
  assert.equal(await page.locator("#key-form").isVisible(), false);
  const kept = await page.evaluate(() => [location.href, document.cookie, localStorage.length, sessionStorage.length]);
  assert.deepEqual(kept, [`${server.admin}/dashboard`, "", 0, 0]);
  // One may also come with it, and then it is not left in the address.
  await page.goto(`${server.admin}/dashboard?api_key=${encodeURIComponent(KEY)}`);
  await live(page);
  assert.equal(page.url(), `${server.admin}/dashboard`);
  assert.deepEqual(said, []);
});

test("a tab that is not seen lets the server rest", async (t) => {
  const used = await served(t);
  const { server } = used;
  const page = await open(used);
  await live(page);
  assert.equal(await server.metric("throng_dashboard_viewers"), 1);
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  while ((await server.metric("throng_dashboard_sampling")) > 0);
  assert.equal(await server.metric("throng_dashboard_viewers"), 0);
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "visible", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForFunction(() => /^Live/.test(document.getElementById("stream").textContent));
});
