#!/usr/bin/env node
// A server of a few lines that keeps rooms in one file, for the tests of the kill -9 program itself:
// as it is, it loses nothing; FAKE_FAULT makes it wrong in one way, which the program has to find.
//
// It knows what the program asks of a server: connect, subscribe with recovery, publish, history, and
// to publish through the HTTP API.

import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { WebSocketServer } from "../js/sdk.mjs";

const FAULT = process.env.FAKE_FAULT ?? "";

/** Publications that one answer holds. */
const LIMIT = 300;

/** How long the fault "early" keeps what it has acknowledged to itself. */
const EARLY_MS = 40;

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: Object.fromEntries(["listen", "admin", "config", "data"].map((name) => [name, { type: "string" }])),
});

const path = join(values.data, "rooms");
const rooms = new Map();

function roomOf(channel) {
  if (!rooms.has(channel)) {
    rooms.set(channel, { publications: [], members: new Set() });
  }
  return rooms.get(channel);
}

/** Reads the file, up to what a crash left of its last lines; returns where that begins. */
function load() {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  let start = 0;
  for (;;) {
    const end = bytes.indexOf("\n", start);
    if (end === -1) {
      return start;
    }
    try {
      const { channel, data } = JSON.parse(bytes.subarray(start, end));
      const { publications } = roomOf(channel);
      publications.push({ data, offset: publications.length + 1 });
    } catch (error) {
      if (FAULT === "stubborn") {
        throw error;
      }
      return start;
    }
    start = end + 1;
  }
}

const end = load();
if (existsSync(path)) {
  truncateSync(path, end);
}
const file = openSync(path, "a");
let early = "";
let published = 0;

function write(channel, data) {
  const text = `${JSON.stringify({ channel, data })}\n`;
  if (FAULT === "early") {
    early += text;
  } else {
    writeSync(file, text);
  }
}

if (FAULT === "early") {
  setInterval(() => {
    writeSync(file, early);
    early = "";
  }, EARLY_MS);
}

const EPOCH = FAULT === "epoch" ? `epoch${process.pid}` : "epoch";

function publish(channel, data) {
  const { publications, members } = roomOf(channel);
  published += 1;
  const isTwice = FAULT === "twice" && published % 50 === 0;
  for (let i = 0; i < (isTwice ? 2 : 1); i++) {
    write(channel, data);
    publications.push({ data, offset: publications.length + 1 });
    const push = JSON.stringify({ push: { channel, pub: publications.at(-1) } });
    members.forEach((member) => member.send(push));
  }
}

/** The publications that a recovery from `offset` brings; undefined if there are too many. */
function recover(publications, offset) {
  const missed = publications.slice(offset);
  if (missed.length > LIMIT || offset > publications.length || FAULT === "amnesia") {
    return undefined;
  }
  if (FAULT === "gap") {
    return missed.slice(1);
  }
  return FAULT === "again" && offset > 0 ? [publications[offset - 1], ...missed] : missed;
}

function subscribe(socket, { channel, recover: isRecovering = false, offset = 0 }) {
  const { publications, members } = roomOf(channel);
  const base = { recoverable: true, positioned: true, epoch: EPOCH, was_recovering: isRecovering };
  members.add(socket);
  socket.on("close", () => members.delete(socket));
  const recovered = isRecovering ? recover(publications, offset) : undefined;
  if (recovered === undefined) {
    return { ...base, offset: publications.length };
  }
  return { ...base, offset, recovered: true, publications: recovered };
}

function history({ channel, limit = 0, since }) {
  const { publications } = roomOf(channel);
  const start = since?.offset ?? 0;
  return { epoch: EPOCH, offset: publications.length, publications: publications.slice(start, start + limit) };
}

function answer(socket, command) {
  if (command.connect) {
    return { connect: { client: "fake", version: "fake", ping: 25 } };
  }
  if (command.subscribe) {
    return { subscribe: subscribe(socket, command.subscribe) };
  }
  if (command.history) {
    return { history: history(command.history) };
  }
  publish(command.publish.channel, command.publish.data);
  return { publish: {} };
}

/** Answers a call of the API, which is always to publish. */
async function call(request, response) {
  const { channel, data } = JSON.parse(Buffer.concat(await request.toArray()));
  publish(channel, data);
  const offset = roomOf(channel).publications.length + (FAULT === "shift" ? 1 : 0);
  response.end(JSON.stringify({ result: { offset, epoch: EPOCH } }));
}

const api = createServer(call).listen(0, "127.0.0.1");
const [host, port] = values.listen.split(":");
const server = new WebSocketServer({ host, port: Number(port) }, () => {
  const address = `ws://127.0.0.1:${server.address().port}/connection/websocket`;
  console.log(`throng ready: clients ${address}, admin http://127.0.0.1:${api.address().port}, a fake`);
});
server.on("connection", (socket) => {
  socket.on("message", (message) => {
    for (const line of message.toString().split("\n")) {
      const command = JSON.parse(line);
      socket.send(JSON.stringify({ id: command.id, ...answer(socket, command) }));
    }
  });
});
process.on("SIGTERM", () => {
  if (FAULT === "rude") {
    process.exit(3);
  }
  server.clients.forEach((client) => client.close(3001, "shutdown"));
  closeSync(file);
  process.exit(0);
});
