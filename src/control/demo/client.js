// A client of the Centrifuge protocol, as small as it gets: JSON over a WebSocket, one object a line.
//
// - A command `{id, <method>: …}` is answered by `{id, <method>: …}` or `{id, error}`.
// - What has no id is a push, `{push: {channel, pub | join | leave | unsubscribe}}`, or, if it is `{}`, a ping.
// - In a room with history every publication has an offset. Who comes back says where it was, by offset and
//   epoch, and gets what it missed, or is told that it cannot.
"use strict";

/** Bounds of the time before another try to connect; those of the official SDKs. */
const [DELAY_MS_MIN, DELAY_MS_MAX] = [500, 20_000];

/** Time that an answer may take, and that a ping may be late. */
const [ANSWER_MS, PING_LATE_MS] = [5_000, 10_000];

/** What close codes mean to people. From 3500 to 3999 and from 4500 to 4999 there is no coming back. */
const MEANINGS = {
  1001: "the server went away",
  1006: "the connection broke",
  1009: "a message was too long",
  3001: "the server is shutting down",
  3004: "the server failed",
  3005: "the token expired",
  3008: "this client read too slowly",
  3009: "nothing could be sent to this client",
  3010: "this client has to ask for its state again",
  3012: "this client did not answer a ping in time",
  3013: "too many requests",
  3500: "the token is not valid",
  3501: "the server did not understand this client",
  3502: "this client said nothing for too long",
  3503: "an operator ended this connection",
  3504: "this user has too many connections",
  3507: "this is not allowed",
};

const isFinal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);

/**
 * Time before try number `attempt` (from 0): it may double each time, and is drawn from the whole span ("full
 * jitter"), so that thousands who lost their server do not come back in step.
 */
function delayMs(attempt) {
  const span = Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** Math.min(attempt, 31));
  return Math.min(DELAY_MS_MAX, DELAY_MS_MIN + Math.random() * span);
}

/** An error that the server answered with. */
class Refused extends Error {
  constructor({ code, message, temporary }) {
    super(`${message} (${code})`);
    Object.assign(this, { code, isTemporary: temporary === true });
  }
}

class Client {
  #socket = null;
  #attempt = 0;
  #nextId = 0;
  #retry = 0;
  #watchdog = 0;
  #pingMs = 0;
  #answersPings = false;
  /** Commands that wait for their answer, by id. */
  #waiting = new Map();
  /** Rooms that were asked for, by channel: what tells of them, and where we are in their streams. */
  #rooms = new Map();

  /**
   * `identify` resolves with `{url, token}` before each try to connect. `onState(state, why)` hears of
   * "connecting", "connected", "waiting" (for the next try), "offline" and "ended"; `onLine(direction,
   * text)` sees every line.
   */
  constructor({ identify, onState, onLine }) {
    Object.assign(this, { identify, onState, onLine, isConnected: false });
  }

  /** Connects, and from then on comes back whenever the connection ends. */
  async connect() {
    clearTimeout(this.#retry);
    this.#drop();
    this.onState("connecting", "");
    let identity;
    const attempt = (this.#socket = {});
    try {
      identity = await this.identify();
    } catch (error) {
      return this.#socket === attempt && this.#ended(1006, error.message);
    }
    if (this.#socket !== attempt) return;
    const socket = (this.#socket = new WebSocket(identity.url));
    socket.onopen = () => this.#greet(identity.token);
    socket.onmessage = ({ data }) => {
      for (const line of data.split("\n")) if (line !== "" && this.#socket === socket) this.#hear(line);
    };
    socket.onclose = ({ code, reason }) => this.#socket === socket && this.#ended(code, reason);
  }

  /** Ends the connection and does not come back before `connect`. */
  leave() {
    clearTimeout(this.#retry);
    this.#drop();
    this.onState("offline", "");
  }

  /**
   * Becomes a member of `channel`. `room.subscribed(result, count)` is called each time that it is one, after the
   * `count` publications that it had missed went to `room.publication(pub)`; `room.recovering(result)` before
   * them. `join`, `leave` and `failed(error)` are the others.
   */
  subscribe(channel, room) {
    this.#rooms.set(channel, room);
    if (this.isConnected) this.#send(this.#subscribe(channel, room));
  }

  unsubscribe(channel) {
    this.#rooms.delete(channel);
    if (this.isConnected) this.call({ unsubscribe: { channel } }).catch(() => {});
  }

  /** Sends one command; resolves with its result. */
  call(command) {
    return new Promise((resolve, reject) => this.#send(this.#command(command, resolve, reject)));
  }

  /**
   * The line of a command. Its result goes to `done` at once when it is read, and not by a promise's turn: a
   * push behind it, in the same message, has to find the room as the answer left it.
   */
  #command(command, done, failed) {
    const id = ++this.#nextId;
    const [method] = Object.keys(command);
    const timer = setTimeout(() => this.#ended(1006, `no answer to ${method}`), ANSWER_MS);
    this.#waiting.set(id, { method, done, failed, timer });
    return JSON.stringify({ id, ...command });
  }

  #send(...lines) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return this.#giveUp("not connected");
    lines.forEach((line) => this.onLine("out", line));
    this.#socket.send(lines.join("\n"));
  }

  /** Connects and asks for all rooms in one message: one round trip until everything is as it was. */
  #greet(token) {
    const connect = this.#command(
      { connect: { token, name: "demo" } },
      (result) => this.#connected(result),
      (error) => error instanceof Refused && this.#ended(error.isTemporary ? 1006 : 3500, error.message),
    );
    this.#send(connect, ...[...this.#rooms].map(([channel, room]) => this.#subscribe(channel, room)));
  }

  #connected(result) {
    this.isConnected = true;
    this.#attempt = 0;
    this.#pingMs = (result.ping ?? 0) * 1000;
    this.#answersPings = result.pong === true;
    this.#watch();
    this.onState("connected", "");
  }

  /** The command that asks for a room: from where we were, if we were there. */
  #subscribe(channel, room) {
    const since = room.epoch === undefined ? {} : { recover: true, epoch: room.epoch, offset: room.offset };
    return this.#command(
      { subscribe: { channel, ...since } },
      (result) => this.#subscribed(channel, room, result),
      (error) => this.#notSubscribed(channel, room, error),
    );
  }

  #subscribed(channel, room, result) {
    if (this.#rooms.get(channel) !== room) return;
    if (result.was_recovering) room.recovering?.(result);
    const missed = result.publications ?? [];
    if (!result.recovered) room.offset = result.offset ?? 0;
    if (result.recoverable) room.epoch = result.epoch;
    const isNew = missed.filter((pub) => this.#publication(room, pub));
    room.subscribed?.(result, isNew.length);
  }

  #notSubscribed(channel, room, error) {
    if (!(error instanceof Refused) || this.#rooms.get(channel) !== room) return;
    if (!error.isTemporary) return room.failed?.(error);
    const again = () => this.#rooms.get(channel) === room && this.#send(this.#subscribe(channel, room));
    setTimeout(() => this.isConnected && again(), delayMs(0));
  }

  /** Hands a publication on, once: one that is not behind the last was there before. */
  #publication(room, pub) {
    if (pub.offset !== undefined) {
      if (pub.offset <= (room.offset ?? 0)) return false;
      room.offset = pub.offset;
    }
    room.publication?.(pub);
    return true;
  }

  #hear(line) {
    this.onLine("in", line);
    this.#watch();
    const reply = JSON.parse(line);
    if (reply.id) {
      const { method, done, failed, timer } = this.#waiting.get(reply.id) ?? {};
      clearTimeout(timer);
      this.#waiting.delete(reply.id);
      return reply.error ? failed?.(new Refused(reply.error)) : done?.(reply[method]);
    }
    if (reply.push) return this.#push(reply.push);
    if (this.#answersPings) this.#send("{}");
  }

  #push({ channel, pub, join, leave, unsubscribe }) {
    const room = this.#rooms.get(channel);
    if (room === undefined) return;
    if (pub) this.#publication(room, pub);
    if (join) room.join?.(join.info);
    if (leave) room.leave?.(leave.info);
    // From 2500 on the server asks to be asked again: it could not go on from where we were.
    if (unsubscribe?.code >= 2500) this.#send(this.#subscribe(channel, room));
    else if (unsubscribe) room.failed?.(new Refused({ code: unsubscribe.code, message: unsubscribe.reason }));
  }

  /** Nothing heard for a ping and some more: the connection is dead, although nobody said so. */
  #watch() {
    clearTimeout(this.#watchdog);
    if (this.#pingMs > 0) {
      this.#watchdog = setTimeout(() => this.#ended(1006, "no ping"), this.#pingMs + PING_LATE_MS);
    }
  }

  #ended(code, reason) {
    this.#drop();
    const why = (code === 1006 && reason) || MEANINGS[code] || reason || `code ${code}`;
    if (isFinal(code) || code === 1009) return this.onState("ended", `${why} (${code})`);
    const ms = delayMs(this.#attempt++);
    this.onState("waiting", `${why}; next try in ${(ms / 1000).toFixed(1)} s`);
    this.#retry = setTimeout(() => this.connect(), ms);
  }

  /** Lets go of the socket, whatever becomes of it, and of what waits for answers. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.isConnected = false;
    this.#pingMs = 0;
    clearTimeout(this.#watchdog);
    socket?.close?.();
    this.#giveUp("the connection ended");
  }

  #giveUp(why) {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { failed, timer } of waiting) {
      clearTimeout(timer);
      failed(new Error(why));
    }
  }
}
