// A throng started by a test: the binary that THRONG_BIN names (else the debug build), on ports that
// the kernel chooses, ended by signal. Used by the JavaScript and the browser tests.

import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const DEBUG_BUILD = fileURLToPath(new URL("../../target/debug/throng", import.meta.url));
const PROGRAM = resolve(process.env.THRONG_BIN ?? DEBUG_BUILD);

/** The key that signs the tokens of all tests. */
export const KEY = "a key for tests, which is not a secret but as long as one";

/** The processes that run; none of them outlives this one. */
const running = new Set();
process.on("exit", () => running.forEach((server) => server.kill("SIGKILL")));

/** A running server. */
export class Server {
  #process;
  #exited;
  #ready;
  #log = "";

  /**
   * Starts a server with `config` (TOML; none at all: no file) and waits until it is ready.
   * `listen` is a port to listen on again; left out, the kernel chooses one. `data` is the directory
   * of its durable rooms, which the caller keeps; left out, it is gone with the server.
   */
  static async start(config, options) {
    const server = Server.spawn(config, options);
    await server.ready();
    return server;
  }

  /** Starts a server like `start`, without waiting. */
  static spawn(config, { listen = "127.0.0.1:0", data } = {}) {
    const server = new Server();
    // Where it runs, so that its data are its own.
    const home = mkdtempSync(join(tmpdir(), "throng-test-"));
    const args = ["serve", "--listen", listen, "--admin", "127.0.0.1:0"];
    if (data !== undefined) {
      args.push("--data", resolve(data));
    }
    if (config !== undefined) {
      const file = join(home, "throng.toml");
      writeFileSync(file, config);
      args.push("--config", file);
    }
    server.#process = spawn(PROGRAM, args, { cwd: home, stdio: ["ignore", "pipe", "pipe"] });
    server.#process.stderr.on("data", (bytes) => (server.#log += bytes));
    running.add(server.#process);
    server.#exited = new Promise((resolve, reject) => {
      server.#process.once("exit", (code) => {
        running.delete(server.#process);
        rmSync(home, { recursive: true });
        resolve(code);
      });
      server.#process.once("error", reject);
    });
    const lines = createInterface({ input: server.#process.stdout });
    const first = new Promise((resolve) => lines.once("line", resolve));
    server.#ready = Promise.race([first, server.#exited]);
    return server;
  }

  /** Resolves when the server is ready. */
  async ready() {
    const line = await this.#ready;
    const [, url, admin] = /^throng ready: clients (\S+), admin (\S+), /.exec(line) ?? [];
    if (url === undefined) {
      throw new Error(`${PROGRAM} did not become ready: ${line}\n${this.#log}`);
    }
    /** Where clients connect. */
    this.url = url;
    /** The admin listener. */
    this.admin = admin;
  }

  /** The address that clients connect to, to be listened on again. */
  get address() {
    return new URL(this.url).host;
  }

  /** Drains and ends the server; resolves with its exit code. */
  async stop() {
    this.#process.kill("SIGTERM");
    return this.#exited;
  }

  /** Ends the server as a crash does, at once; resolves when it is gone. */
  async kill() {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  /** Sends the server `signal`, which does not end it: SIGSTOP or SIGCONT. */
  signal(signal) {
    this.#process.kill(signal);
  }

  /** What the server has logged so far. */
  get log() {
    return this.#log;
  }

  /** The value that /metrics shows for `name`, which includes its labels. */
  async metric(name) {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`${name} `));
    return Number(line.slice(name.length));
  }
}

/** A token with `claims`, signed with HS256. */
export function token(claims, key = KEY) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

/** Unix time in seconds, `offset` seconds from now, as tokens have it. */
export function inSeconds(offset) {
  return Math.floor(Date.now() / 1000) + offset;
}
