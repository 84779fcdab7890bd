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

/** A running server. */
export class Server {
  #process;
  #exited;
  /** Where it runs, so that its data are its own. */
  #home;

  /**
   * Starts a server with `config` (TOML; none at all: no file) and waits until it is ready.
   * `listen` is a port to listen on again; left out, the kernel chooses one.
   */
  static async start(config, { listen = "127.0.0.1:0" } = {}) {
    const server = new Server();
    server.#home = mkdtempSync(join(tmpdir(), "throng-test-"));
    const args = ["serve", "--listen", listen, "--admin", "127.0.0.1:0"];
    if (config !== undefined) {
      const file = join(server.#home, "throng.toml");
      writeFileSync(file, config);
      args.push("--config", file);
    }
    server.#process = spawn(PROGRAM, args, { cwd: server.#home, stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    server.#process.stderr.on("data", (bytes) => (log += bytes));
    server.#exited = new Promise((resolve, reject) => {
      server.#process.once("exit", (code) => resolve(code));
      server.#process.once("error", reject);
    });
    const lines = createInterface({ input: server.#process.stdout });
    const ready = new Promise((resolve) => lines.once("line", resolve));
    const line = await Promise.race([ready, server.#exited]);
    const [, url, admin] = /^throng ready: clients (\S+), admin (\S+), /.exec(line) ?? [];
    if (url === undefined) {
      rmSync(server.#home, { recursive: true });
      throw new Error(`${PROGRAM} did not become ready: ${line}\n${log}`);
    }
    /** Where clients connect. */
    server.url = url;
    /** The admin listener. */
    server.admin = admin;
    return server;
  }

  /** The address that clients connect to, to be listened on again. */
  get address() {
    return new URL(this.url).host;
  }

  /** Drains and ends the server; resolves with its exit code. */
  async stop() {
    this.#process.kill("SIGTERM");
    const code = await this.#exited;
    rmSync(this.#home, { recursive: true, force: true });
    return code;
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
