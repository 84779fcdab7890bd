// Torn writes touch only what was written last, and are torn.

import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Random } from "./random.mjs";
import { KINDS, difference, image, stamp, tear } from "./torn.mjs";

const BOOT = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
const OLD = Buffer.alloc(10_000, "old ");
const NEW = Buffer.alloc(20_000, "new ");

/** A directory with one file, which `t` removes. */
function directory(t, content) {
  const path = mkdtempSync(join(tmpdir(), "throng-torn-"));
  t.after(() => rmSync(path, { recursive: true }));
  mkdirSync(join(path, "journals"));
  writeFileSync(join(path, "journals", "0.jnl"), content);
  writeFileSync(join(path, "lock"), "");
  writeFileSync(join(path, "boot"), `open in ${BOOT}\n`);
  return path;
}

test("two buffers differ where they first do", () => {
  const bytes = new Random(7).bytes(1000);
  assert.equal(difference(bytes, Buffer.from(bytes)), undefined);
  assert.equal(difference(bytes, bytes.subarray(0, 600)), 600);
  for (const at of [0, 1, 498, 499, 500, 501, 998, 999]) {
    const other = Buffer.from(bytes);
    other.fill(other[at] + 1, at);
    assert.equal(difference(bytes, other), at);
  }
});

test("what was there before stays, and what came after is torn, in each of the ways", (t) => {
  const [done, both] = [new Set(), new Set()];
  for (let seed = 0; seed < 60; seed++) {
    const path = directory(t, OLD);
    const before = image(path);
    const file = join(path, "journals", "0.jnl");
    appendFileSync(file, NEW);
    const torn = tear(path, before, new Random(seed));
    const is = readFileSync(file);
    done.add(torn.kind);
    assert.equal(torn.file, join("journals", "0.jnl"));
    assert.ok(torn.isReboot || !["garbage", "hole"].includes(torn.kind), "a killed process leaves no such thing");
    const boot = readFileSync(join(path, "boot"), "utf8");
    assert.equal(boot === `open in ${BOOT}\n`, !torn.isReboot);
    assert.match(boot, /^open in [0-9a-f]{8}-[0-9a-f-]{27}\n$/);
    both.add(`${torn.isReboot}`);
    assert.ok(is.subarray(0, OLD.length).equals(OLD), `seed ${seed}: the acknowledged part is touched`);
    assert.ok(is.subarray(OLD.length, torn.at).equals(NEW.subarray(0, torn.at - OLD.length)));
    assert.ok(torn.at >= OLD.length && torn.at < OLD.length + NEW.length);
    assert.ok(!is.equals(Buffer.concat([OLD, NEW])), `seed ${seed}: nothing is torn`);
    if (torn.kind === "cut") {
      assert.equal(is.length, torn.at);
    } else {
      assert.equal(is.length, OLD.length + NEW.length);
    }
  }
  assert.deepEqual([...done].sort(), [...KINDS].sort());
  assert.equal(both.size, 2);
});

test("a file that was made long before it is filled keeps its length", (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const path = directory(t, Buffer.concat([OLD, Buffer.alloc(100_000)]));
    const before = image(path);
    const file = join(path, "journals", "0.jnl");
    writeFileSync(file, Buffer.concat([OLD, NEW, Buffer.alloc(80_000)]));
    const torn = tear(path, before, new Random(seed));
    const is = readFileSync(file);
    assert.equal(is.length, 110_000);
    assert.equal(torn.end, OLD.length + NEW.length);
    assert.ok(is.subarray(0, torn.at).equals(Buffer.concat([OLD, NEW]).subarray(0, torn.at)));
    assert.ok(torn.kind === "garbage" || is.subarray(torn.end).every((byte) => byte === 0));
  }
});

test("the stamp of a directory is another once something was written", (t) => {
  const path = directory(t, OLD);
  const before = stamp(path);
  assert.equal(stamp(path), before);
  appendFileSync(join(path, "journals", "0.jnl"), "new");
  assert.notEqual(stamp(path), before);
});

test("nothing is torn where the mix could not happen", (t) => {
  const cases = [
    ["nothing was written", () => {}],
    ["journals/0.jnl was not appended to", (path) => writeFileSync(join(path, "journals", "0.jnl"), NEW)],
    ["journals/1.jnl came or went", (path) => writeFileSync(join(path, "journals", "1.jnl"), NEW)],
    [
      "2 files were changed",
      (path) => {
        appendFileSync(join(path, "journals", "0.jnl"), NEW);
        writeFileSync(join(path, "table"), NEW);
      },
    ],
  ];
  for (const [spared, write] of cases) {
    const path = directory(t, OLD);
    const before = image(path);
    write(path);
    const written = image(path);
    assert.deepEqual(tear(path, before, new Random(1)), { spared });
    assert.deepEqual(image(path), written);
  }
});

test("chance is the same for the same seed and another for another", () => {
  const numbers = (seed) => {
    const random = new Random(seed);
    return Array.from({ length: 100 }, () => random.between(3, 5));
  };
  assert.deepEqual(numbers(5), numbers(5));
  assert.notDeepEqual(numbers(5), numbers(6));
  assert.deepEqual([...new Set(numbers(5))].sort(), [3, 4, 5]);
});
