// The kill -9 program finds what is wrong with a server, and nothing with one that is right: fake.mjs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("run.mjs", import.meta.url));
const FAKE = fileURLToPath(new URL("fake.mjs", import.meta.url));

/** Runs the program against the fake with `fault`; resolves with its exit code and what it printed. */
function run(fault, ...args) {
  const env = { ...process.env, THRONG_BIN: FAKE, FAKE_FAULT: fault };
  return new Promise((resolve) => {
    execFile(PROGRAM, args, { env, timeout: 120_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : error.code, out: out + err });
    });
  });
}

/** The directory that is left after a violation; `t` removes it. */
function left(t, out) {
  const directory = /^the server's directory: (.*)$/m.exec(out)?.[1];
  assert.ok(existsSync(directory), out);
  t.after(() => rmSync(directory, { recursive: true }));
}

for (const mode of ["kill", "term", "truncate"]) {
  test(`a server that loses nothing passes: ${mode}`, async () => {
    const { code, out } = await run("", "--rounds", "2", "--mode", mode, "--seed", "1");
    assert.equal(code, 0, out);
    assert.match(out, /^round 1, seed 1: acknowledged \d+ \(\d+ before\); in doubt .*; recovered \d+; restart /m);
    assert.match(out, /^round 2, seed 2: /m);
    assert.match(out, /^2 of 2 rounds .*, 0 violations$/m);
    assert.ok(mode !== "truncate" || /, 2 torn in /.test(out), out);
  });
}

const FAULTS = [
  ["early", "kill", "lost", "acknowledges before it has written"],
  ["early", "truncate", "lost", "acknowledges before it has written, with a torn write"],
  ["twice", "kill", "duplicate", "writes a message twice"],
  ["epoch", "kill", "epoch", "makes a new epoch when it starts"],
  ["gap", "kill", "missed", "leaves out the first message of a recovery"],
  ["again", "kill", "seen twice", "repeats a message in a recovery"],
  ["amnesia", "kill", "unrecovered", "recovers nothing"],
  ["shift", "kill", "moved", "answers with another offset than a message has"],
  ["rude", "term", "exit", "fails when it is told to end"],
];

for (const [fault, mode, kind, what] of FAULTS) {
  test(`a server that ${what} is found out`, async (t) => {
    // A round may end at a moment at which the fault does no harm. The first that it does ends the run.
    const { code, out } = await run(fault, "--rounds", "30", "--mode", mode, "--seed", "1");
    assert.equal(code, 1, out);
    assert.match(out, new RegExp(`^  VIOLATION ${kind}( in \\w+:1-\\d-\\d)?: `, "m"));
    left(t, out);
  });
}

test("a server that a torn write keeps from starting is found out", async (t) => {
  const { code, out } = await run("stubborn", "--rounds", "8", "--mode", "truncate", "--seed", "1");
  assert.equal(code, 1, out);
  assert.match(out, /^round \d, seed \d: torn: .*\n  VIOLATION failed: .* did not become ready: /m);
  left(t, out);
});

test("a directory that is named stays, and what is in it is there for the next run", async (t) => {
  const data = mkdtempSync(join(tmpdir(), "throng-crash-test-"));
  t.after(() => rmSync(data, { recursive: true }));
  for (const seed of ["1", "2"]) {
    const { code, out } = await run("", "--rounds", "1", "--seed", seed, "--data", data);
    assert.equal(code, 0, out);
    assert.ok(existsSync(join(data, "rooms")));
  }
});

test("an option that makes no sense is refused", async () => {
  for (const args of [["--mode", "burn"], ["--rounds", "0"], ["--rooms", "many"], ["--what"]]) {
    const { code, out } = await run("", ...args);
    assert.equal(code, 1, out);
    assert.doesNotMatch(out, /^round/m);
  }
});
