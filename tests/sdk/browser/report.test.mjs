// The pages of `throng bench … --report` in headless Chromium: they open from a disk, draw every plot, fetch
// nothing and fit a phone. The page of `idle` is looked at closely, the others for their plots.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { launch } from "./browser.mjs";

const PROGRAM = process.env.THRONG_BIN ?? fileURLToPath(new URL("../../../target/debug/throng", import.meta.url));
const SCREENSHOTS = fileURLToPath(new URL("../../../target/screenshots/", import.meta.url));

/** What `idle` shows, whatever the machine. */
const PLOTS = ["Memory per connection", "Connects over time", "CPU per connect"];

let directory;
let report;
let browser;

/** Short runs of the other scenarios, and the plots that each shows. */
const OTHERS = {
  "fanout --members 20 --in-flight 1,4 --seconds 0.3": [
    "CPU per delivery against in-flight",
    "Deliveries per second against in-flight",
  ],
  "fanout --members 20 --rate 50 --seconds 0.5": ["Delay of deliveries", "CPU per delivery"],
  "storm --connections 100 --stayers 10 --rate 20": [
    "Connections back over time",
    "Until a connection was back",
    "Delay of those who stayed",
  ],
  "slow --members 50 --rate 20 --seconds 0.5": ["Delay of those who read", "CPU per delivery"],
  "heartbeat --connections 50 --ping-interval-ms 200 --seconds 1": ["CPU per ping and its pong"],
  "ceiling --members 10 --rate 1 --p99-ms 0.001 --step-seconds 0.1": [
    "Delay against rate",
    "CPU per delivery against rate",
  ],
  "floor --connections 100 --members 10 --hold 0 --seconds 0.3": [
    "Memory per connection",
    "Connects over time",
    "CPU per accept",
    "CPU per send",
  ],
};

const bench = (args) => promisify(execFile)(PROGRAM, ["bench", ...args]);
const run = (args) => bench(["idle", ...args]);

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  directory = mkdtempSync(join(tmpdir(), "throng-report-"));
  report = join(directory, "idle <b>&amp; so on.html");
  const { stdout } = await run(["--connections", "200", "--hold", "1", "--report", report]);
  assert.match(stdout, /connections whole +200\n/);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true });
});

/** The report in a tab; the test fails on whatever the console says and on whatever is fetched. */
async function open(t, { width = 900, colorScheme = "light", file = report } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  t.after(() => context.close());
  const page = await context.newPage();
  const [said, fetched] = [[], []];
  page.on("pageerror", (error) => said.push(error));
  page.on("console", (message) => said.push(message.text()));
  page.on("request", (request) => fetched.push(request.url()));
  t.after(() => {
    assert.deepEqual(said, []);
    assert.deepEqual(fetched, [pathToFileURL(file).href]);
  });
  await page.goto(pathToFileURL(file).href);
  return page;
}

/** Every plot that is seen: its name, its size, and the shapes that have a size of their own. */
function plots(page) {
  return page.$$eval("svg", (elements) => {
    const seen = elements.filter((svg) => svg.checkVisibility());
    return seen.map((svg) => {
      const { width, height } = svg.getBoundingClientRect();
      const shapes = [...svg.querySelectorAll("rect, polyline, polygon")];
      const drawn = shapes.filter((shape) => {
        const box = shape.getBBox();
        return box.width > 0 && box.height + (shape.localName === "polyline") > 0;
      });
      const labels = [...svg.querySelectorAll("text")].map((text) => text.textContent.trim());
      return { name: svg.getAttribute("aria-label"), role: svg.role, width, height, drawn: drawn.length, labels };
    });
  });
}

for (const [width, colorScheme] of [
  [900, "light"],
  [900, "dark"],
  [400, "light"],
]) {
  test(`every plot is drawn at ${width} px, ${colorScheme}`, async (t) => {
    const page = await open(t, { width, colorScheme });
    const seen = await plots(page);
    assert.deepEqual(
      seen.map(({ name }) => name),
      PLOTS,
    );
    for (const plot of seen) {
      assert.equal(plot.role, "img", plot.name);
      assert.ok(plot.width > width / 2 && plot.height > 60, `${plot.name}: ${plot.width} x ${plot.height}`);
      assert.ok(plot.drawn > 0, `${plot.name} has no shape`);
      assert.ok(plot.labels.length > 3 && plot.labels.includes("0"), `${plot.name}: ${plot.labels}`);
    }
    await page.screenshot({ path: `${SCREENSHOTS}report-${width}-${colorScheme}.png`, fullPage: true });
  });
}

for (const [command, names] of Object.entries(OTHERS)) {
  test(`${command} has its plots, on a desk and on a phone`, async (t) => {
    const file = join(directory, `${command.replaceAll(/\W+/g, "-")}.html`);
    await bench([...command.split(" "), "--report", file]);
    for (const width of [900, 400]) {
      const page = await open(t, { width, file });
      const seen = await plots(page);
      assert.deepEqual(
        seen.map(({ name }) => name),
        names,
      );
      assert.ok(seen.every((plot) => plot.drawn > 0 && plot.width > width / 2));
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      await page.screenshot({ path: `${SCREENSHOTS}${command.split(" ")[0]}-${width}.png`, fullPage: true });
    }
  });
}

test("nothing is wider than a phone, numbers and the longest words included", async (t) => {
  const page = await open(t, { width: 400 });
  await page.$$eval("details", (all) => all.forEach((details) => (details.open = true)));
  const wide = await page.$$eval("body *", (all) =>
    all.filter((element) => element.getBoundingClientRect().right > 400.5).map((element) => element.outerHTML),
  );
  assert.deepEqual(wide, []);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400);
});

test("text is read on its ground in the light and in the dark", async (t) => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(t, { colorScheme });
    const colours = await page.$$eval("svg text, p, h1, h2, td", (all) =>
      all
        .filter((element) => element.checkVisibility())
        .map((element) => {
          const style = getComputedStyle(element);
          const ground = getComputedStyle(element.closest("section") ?? document.body).backgroundColor;
          return [element instanceof SVGElement ? style.fill : style.color, ground];
        }),
    );
    assert.ok(colours.length > 20);
    const low = colours.filter(([ink, ground]) => contrast(ink, ground) < 4.5);
    assert.deepEqual(low, [], colorScheme);
  }
});

/** The contrast of two CSS colours, as WCAG 2 has it; 4.5 is what it asks for text. */
function contrast(...colours) {
  const [light, dark] = colours
    .map((colour) => {
      const [r, g, b] = /^rgb\((\d+), (\d+), (\d+)\)$/
        .exec(colour)
        .slice(1)
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    })
    .sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

test("the command line is shown as it was typed", async (t) => {
  const page = await open(t);
  assert.ok((await page.textContent("code")).endsWith(`--report ${report}`));
  assert.equal(await page.locator("code b").count(), 0);
});

test("a page on paper is light and has the wide plots", async (t) => {
  const page = await open(t, { width: 400, colorScheme: "dark" });
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  const seen = await plots(page);
  assert.equal(seen.length, PLOTS.length);
  const ground = await page.$eval("body", (body) => getComputedStyle(body).backgroundColor);
  assert.equal(ground, "rgb(255, 255, 255)");
  const ink = await page.$eval("svg text", (text) => getComputedStyle(text).fill);
  assert.ok(contrast(ink, ground) > 4.5, ink);
});

test("a report that cannot be written is refused before the run", async () => {
  const missing = join(directory, "missing", "report.html");
  const refused = await run(["--connections", "200", "--hold", "600", "--report", missing]).catch((error) => error);
  assert.equal(refused.code, 1);
  assert.ok(refused.stderr.includes(missing), refused.stderr);
  assert.equal(refused.stdout, "");
});

test("a run in which nothing opened still writes its page", async (t) => {
  const file = join(directory, "none.html");
  const failed = await run(["--target", "ws://127.0.0.1:1/", "--connections", "3", "--hold", "0", "--report", file]).catch(
    (error) => error,
  );
  assert.notEqual(failed.code, undefined);
  assert.ok(existsSync(file));
  assert.match(readFileSync(file, "utf8"), /3 connections failed to open: /);
});
