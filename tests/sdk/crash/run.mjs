#!/usr/bin/env node
// Ends a server under load at random moments, round after round, and looks whether anything that it
// acknowledged is lost, or anything is twice or out of order: in the rooms, and before the eyes of
// clients that come back by themselves.
//
//   tests/sdk/crash/run.mjs --rounds 50 --mode kill         kill -9
//   tests/sdk/crash/run.mjs --rounds 50 --mode term         SIGTERM
//   tests/sdk/crash/run.mjs --rounds 50 --mode truncate     kill -9, and the last write is torn
//   tests/sdk/crash/run.mjs --rounds 1 --seed SEED ...      the round that was told with this seed
//
// Rooms are of the durabilities "fsync" and, unless the last write is torn, "os".
//
// THRONG_BIN names the server, else it is the debug build. A seed fixes what is done, not how fast the
// machine does it: the same seed is the same kind of moment, not the same moment. Exits with 1 if
// there was any violation, and leaves the server's directory then, as it does with --keep.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Server } from "../server.mjs";
import { judgeAgain } from "./check.mjs";
import { Random } from "./random.mjs";
import { CONFIG, readHistories, round } from "./round.mjs";

const MODES = ["kill", "term", "truncate"];

/** Violations that are shown of one round. */
const SHOWN_MAX = 20;

/** The command line: a number for each of its options, but for mode, data and keep. */
function options() {
  const numbers = { rounds: 10, publishers: 8, rooms: 10, subscribers: 6, "in-flight": 8 };
  numbers.seed = Date.now() % 1_000_000;
  const texts = Object.fromEntries(Object.keys(numbers).map((name) => [name, { type: "string" }]));
  const mode = { type: "string", default: "kill" };
  const { values } = parseArgs({
    options: { ...texts, mode, data: { type: "string" }, keep: { type: "boolean" } },
  });
  for (const name of Object.keys(numbers)) {
    numbers[name] = Number(values[name] ?? numbers[name]);
    if (!Number.isInteger(numbers[name]) || numbers[name] < (name === "seed" ? 0 : 1)) {
      throw new Error(`--${name} is ${values[name]}; it has to be a whole number from ${name === "seed" ? 0 : 1}`);
    }
  }
  if (!MODES.includes(values.mode)) {
    throw new Error(`--mode is ${values.mode}; it has to be one of ${MODES.join(", ")}`);
  }
  return { ...values, ...numbers };
}

/** What is told of a torn write. */
function damage({ spared, file, kind, start, end, at, isReboot }) {
  if (spared !== undefined) {
    return `not torn: ${spared}`;
  }
  return `torn: ${kind} at ${at} of ${start}..${end} in ${file}${isReboot ? ", another boot" : ""}`;
}

/** The line that tells of a round. */
function line(number, seed, { told, torn, ms }) {
  const { before, acknowledged, busy, doubt, recovered } = told;
  const parts = [
    `acknowledged ${acknowledged} (${before} before)`,
    `in doubt ${doubt.kept} kept, ${doubt.gone} gone`,
    `recovered ${recovered}`,
    `restart ${ms.toFixed(0)} ms`,
  ];
  if (busy > 0) {
    parts.push(`busy ${busy}`);
  }
  if (torn !== undefined) {
    parts.push(damage(torn));
  }
  return `round ${number}, seed ${seed}: ${parts.join("; ")}`;
}

function show(violations) {
  for (const { kind, room, detail } of violations.slice(0, SHOWN_MAX)) {
    console.log(`  VIOLATION ${kind}${room === undefined ? "" : ` in ${room}`}: ${detail}`);
  }
  if (violations.length > SHOWN_MAX) {
    console.log(`  and ${violations.length - SHOWN_MAX} more`);
  }
}

/** What has changed in rooms whose histories were read before. */
async function judgeOld(server, histories) {
  const now = await readHistories(server, histories.keys());
  const judged = [...histories].map(([room, before]) => {
    return judgeAgain(before, now.get(room)).map((violation) => ({ ...violation, room }));
  });
  return judged.flat();
}

/** Adds what a round tells to the sums. */
function add(sums, { told, torn, ms, violations }) {
  sums.rounds += violations.length === 0 ? 1 : 0;
  sums.acknowledged += told.acknowledged;
  sums.kept += told.doubt.kept;
  sums.gone += told.doubt.gone;
  sums.recovered += told.recovered;
  sums.torn += torn?.kind === undefined ? 0 : 1;
  sums.restart = Math.max(sums.restart, ms);
}

async function main() {
  const { rounds, mode, seed, publishers, rooms, subscribers, keep, ...rest } = options();
  const counts = { publishers, rooms, subscribers, inFlight: rest["in-flight"] };
  const data = rest.data ?? mkdtempSync(join(tmpdir(), "throng-crash-"));
  mkdirSync(data, { recursive: true });
  const sums = { rounds: 0, acknowledged: 0, kept: 0, gone: 0, recovered: 0, torn: 0, restart: 0 };
  const histories = new Map();
  const start = performance.now();
  let violated = 0;
  let server = await Server.start(CONFIG, { data });
  // The servers end with this process, which ends by itself when it is told to.
  process.on("SIGINT", () => process.exit(130));
  process.on("SIGTERM", () => process.exit(143));
  for (let number = 1; number <= rounds && violated === 0; number++) {
    const random = new Random(seed + number - 1);
    try {
      const result = await round(server, { number: `${seed}-${number}`, mode, data, random, counts });
      server = result.server;
      add(sums, result);
      console.log(line(number, seed + number - 1, result));
      result.histories.forEach((history, room) => histories.set(room, history));
      show(result.violations);
      violated += result.violations.length;
    } catch (error) {
      const what = error.torn === undefined ? "" : `: ${damage(error.torn)}`;
      console.log(`round ${number}, seed ${seed + number - 1}${what}\n  VIOLATION failed: ${error.message}`);
      violated += 1;
    }
  }
  if (violated === 0) {
    await server.kill();
    server = await Server.start(CONFIG, { data });
    const changed = await judgeOld(server, histories);
    console.log(`all ${histories.size} rooms again, after another kill -9: ${changed.length} changed`);
    show(changed);
    violated += changed.length;
  }
  await server.kill();
  const torn = mode === "truncate" ? `, ${sums.torn} torn` : "";
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${sums.rounds} of ${rounds} rounds of ${mode} passed${torn} in ${seconds} s: ` +
      `${sums.acknowledged} acknowledged, ${sums.kept} in doubt kept, ${sums.gone} in doubt gone, ` +
      `${sums.recovered} recovered, slowest restart ${sums.restart.toFixed(0)} ms, ${violated} violations`,
  );
  if (violated > 0 || keep) {
    console.log(`the server's directory: ${data}`);
  } else if (rest.data === undefined) {
    rmSync(data, { recursive: true });
  }
  process.exit(violated > 0 ? 1 : 0);
}

await main();
