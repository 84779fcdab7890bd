// The chat: what it shows, and what it asks of the protocol in client.js. All text goes into the page as text.
"use strict";

/** Messages that a room shows, and those that are fetched when one is opened. */
const [SHOWN_MAX, FETCHED] = [300, 50];

/** Time between two signs of life of somebody who types, and how long one lasts. */
const [TYPING_EVERY_MS, TYPING_FOR_MS] = [2_000, 3_500];

const ROOMS = ["lobby", "kitchen", "garden"];
const NAMES = ["Ada", "Alan", "Barbara", "Dennis", "Edsger", "Frances", "Grace", "Hedy", "Joan", "Ken", "Leslie", "Radia"];

const $ = (id) => document.getElementById(id);
const saved = (key, fallback) => JSON.parse(sessionStorage.getItem(key) ?? "null") ?? fallback();
const save = (key, value) => sessionStorage.setItem(key, JSON.stringify(value));

/** An element with text in it, which stays text. */
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// Kept by the tab: two windows are two people.
const below = (count) => Math.floor(Math.random() * count);
const me = { name: saved("name", () => `${NAMES[below(NAMES.length)]} ${10 + below(90)}`), user: "" };
save("name", me.name);
const names = saved("rooms", () => ROOMS);

/** Rooms by their names, in the order in which they are listed. */
const rooms = new Map();
let current;

/** A room and how it is shown; its methods are what `Client` tells it. */
class Room {
  /** Where we are in the room's stream; `Client` keeps these two. */
  offset = 0;
  epoch = undefined;
  /** Up to where this user has read it, on whatever device. */
  read = 0;
  /** What was unread when the room was opened: offsets above the first, up to the second. */
  fresh = [0, 0];
  /** What is shown, by offset: messages, and notes between them. */
  entries = [];
  /** Messages that did not come back from the server yet, by their ids. */
  outbox = new Map();
  members = new Map();
  /** Who is typing, and when each user said something last, by that user's clock. */
  typing = new Map();
  saidAt = new Map();
  #isMarking = false;

  constructor(name) {
    Object.assign(this, { name, channel: `demo:${name}`, typingChannel: `demo-typing:${name}` });
  }

  get unread() {
    // What is looked at is about to be read.
    return this.isSeen ? 0 : Math.max(0, this.offset - this.read);
  }

  get isSeen() {
    return this === current && document.visibilityState === "visible";
  }

  recovering({ recovered, publications = [] }) {
    const count = publications.length;
    if (!recovered) {
      this.entries = [];
      this.note("lost", "more was missed than the server keeps; these are the latest messages");
    } else if (count > 0) {
      this.note("caught", `caught up: ${count} message${count === 1 ? "" : "s"}`);
    }
  }

  async subscribed({ recovered }) {
    const { channel } = this;
    const [members, history, cursors] = await Promise.allSettled([
      client.call({ presence: { channel } }),
      recovered ? undefined : client.call({ history: { channel, limit: FETCHED, reverse: true } }),
      client.call({ rpc: { method: "unread", data: { channels: [channel] } } }),
    ]);
    if (members.value) this.members = new Map(Object.entries(members.value.presence));
    for (const pub of history.value?.publications ?? []) this.#enter(pub);
    this.read = Math.max(this.read, cursors.value?.data.channels[channel].read ?? 0);
    if (!recovered) this.opened();
    for (const unsent of this.outbox.values()) this.#publish(unsent);
    this.show();
  }

  /** Remembers what is new to the user now. */
  opened() {
    this.fresh = [this.read, this.offset];
  }

  publication(pub) {
    this.#enter(pub);
    this.typing.delete(pub.info?.user);
    this.saidAt.set(pub.info?.user, pub.data?.at);
    this.show();
  }

  join(info) {
    this.members.set(info.client, info);
    this.show();
  }

  leave(info) {
    this.members.delete(info.client);
    this.show();
  }

  failed(error) {
    this.note("lost", `this room is closed to you: ${error.message}`);
    this.show();
  }

  /** A line of the page's own, where the room is now. */
  note(kind, text) {
    this.entries.push({ offset: this.offset, kind, text });
  }

  /** Puts a publication where its offset belongs, once. */
  #enter({ offset, data, info }) {
    const user = info?.user ?? "";
    const { id, text, at } = typeof data === "object" && data !== null ? data : {};
    const message = {
      offset: offset ?? this.offset,
      id: typeof id === "string" ? `${user} ${id}` : "",
      text: typeof text === "string" ? text : JSON.stringify(data),
      at: Number.isFinite(at) ? at : undefined,
      name: String(info?.conn_info?.name ?? (user || "the server")),
      isOwn: user === me.user,
    };
    if (message.isOwn) this.outbox.delete(id);
    // What was said again, because nobody knew whether it had arrived, has another offset but the same id.
    const isSame = (entry) => (offset !== undefined && entry.offset === offset) || (message.id !== "" && entry.id === message.id);
    if (this.entries.some((entry) => entry.kind === undefined && isSame(entry))) return;
    let place = this.entries.length;
    while (place > 0 && this.entries[place - 1].offset > message.offset) place -= 1;
    this.entries.splice(place, 0, message);
    this.entries.splice(0, this.entries.length - SHOWN_MAX);
  }

  say(text) {
    const unsent = { message: { id: crypto.randomUUID(), text, at: Date.now() }, isUnderWay: false };
    this.outbox.set(unsent.message.id, unsent);
    this.#publish(unsent);
    this.show();
  }

  /** Publishes; what fails for now stays in the outbox and is said again. */
  async #publish(unsent) {
    if (!client.isConnected || unsent.isUnderWay || !this.outbox.has(unsent.message.id)) return;
    unsent.isUnderWay = true;
    try {
      await client.call({ publish: { channel: this.channel, data: unsent.message } });
    } catch (error) {
      if (error instanceof Refused && !error.isTemporary) {
        this.outbox.delete(unsent.message.id);
        this.note("lost", `not sent: ${error.message}`);
        this.show();
      } else {
        setTimeout(() => this.#publish(unsent), delayMs(0));
      }
    }
    unsent.isUnderWay = false;
  }

  /** Tells the server what this user has seen: a number, which only moves forward. */
  async markRead() {
    if (this.#isMarking || this.offset <= this.read || !client.isConnected) return;
    this.#isMarking = true;
    const offset = this.offset;
    const params = { channel: this.channel, offset };
    const done = await client.call({ rpc: { method: "read", data: params } }).catch(() => undefined);
    this.#isMarking = false;
    if (done === undefined) return;
    this.read = Math.max(this.read, offset);
    this.show();
  }

  show() {
    if (this.isSeen) this.markRead();
    schedule();
  }
}

const client = new Client({
  async identify() {
    const query = new URLSearchParams(location.search);
    query.set("name", me.name);
    const response = await fetch(`/demo/token?${query}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    if (!response.ok) throw new Error((await response.text()) || response.statusText);
    const { url, token, user, name } = await response.json();
    Object.assign(me, { user, name });
    $("name").value = name;
    return { url, token };
  },
  onState(state, why) {
    $("status").dataset.state = state;
    $("status").textContent = why === "" ? state : `${state}: ${why}`;
    if (state !== "connected") for (const room of rooms.values()) room.members.clear();
    schedule();
  },
  onLine(direction, text) {
    const lines = $("lines");
    const isAtEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 20;
    lines.append(element("li", direction, `${direction === "out" ? "→" : "←"} ${text}`));
    while (lines.childElementCount > 100) lines.firstChild.remove();
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  },
});

function add(name) {
  const room = new Room(name);
  rooms.set(name, room);
  client.subscribe(room.channel, room);
}

function open(name) {
  if (current) client.unsubscribe(current.typingChannel);
  current = rooms.get(name);
  current.opened();
  const typist = current;
  client.subscribe(typist.typingChannel, {
    publication({ info, data }) {
      const name = String(info?.conn_info?.name ?? "");
      // A signal waits for its beat, so the message that was being typed may be here already.
      if (name === "" || info.user === me.user || data?.at <= typist.saidAt.get(info.user)) return;
      clearTimeout(typist.typing.get(info.user)?.timer);
      const timer = setTimeout(() => typist.typing.delete(info.user) && schedule(), TYPING_FOR_MS);
      typist.typing.set(info.user, { name, timer });
      schedule();
    },
  });
  history.replaceState(null, "", `${location.search}#${name}`);
  current.show();
}

// Everything is drawn from the rooms, once for a frame, however much came.
let isScheduled = false;
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    draw();
  });
}

function draw() {
  if (current === undefined) return;
  drawRooms();
  drawMessages();
  drawMembers();
  const typing = [...current.typing.values()].map(({ name }) => name);
  $("typing").textContent = typing.length === 0 ? "" : `${typing.join(", ")} ${typing.length === 1 ? "is" : "are"} typing …`;
  $("title").textContent = `# ${current.name}`;
  $("text").placeholder = `Say something in ${current.name}`;
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${current.name} · throng demo`;
}

/** Makes `list` have `items`, `[key, make]` each; elements that are there already stay, for those who listen. */
function fill(list, items) {
  while (list.firstChild !== null && list.firstChild.dataset.key !== items[0]?.[0]) list.firstChild.remove();
  let same = 0;
  while (same < items.length && list.children[same]?.dataset.key === items[same][0]) same += 1;
  while (list.childElementCount > same) list.lastChild.remove();
  for (const [key, make] of items.slice(same)) {
    const made = make();
    made.dataset.key = key;
    list.append(made);
  }
}

function drawRooms() {
  const focused = document.activeElement?.dataset.room;
  const items = [...rooms.values()].map((room) => {
    const button = element("button", "");
    button.type = "button";
    button.dataset.room = room.name;
    button.onclick = () => open(room.name);
    button.append(element("span", "name", `# ${room.name}`));
    if (room === current) button.ariaCurrent = "page";
    if (room.unread > 0) {
      const badge = element("span", "unread", room.unread > 99 ? "99+" : String(room.unread));
      badge.ariaLabel = `${room.unread} unread`;
      button.append(badge);
    }
    const item = element("li", "");
    item.append(button);
    return item;
  });
  $("rooms").replaceChildren(...items);
  if (focused !== undefined) $("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
}

function drawMessages() {
  const list = $("messages");
  const isAtEnd = list.dataset.room !== current.name || list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
  const [read, top] = current.fresh;
  const items = [];
  let hasFresh = false;
  const put = (key, make) => items.push([`${current.name} ${key}`, make]);
  for (const [index, entry] of current.entries.entries()) {
    const { kind, offset, isOwn, text } = entry;
    if (!hasFresh && !kind && !isOwn && offset > read && offset <= top) {
      hasFresh = true;
      put(`fresh ${offset}`, () => element("li", "note fresh", "new"));
    }
    if (kind) put(`note ${offset} ${kind} ${text}`, () => element("li", `note ${kind}`, text));
    else put(`${offset} ${entry.id || index}`, () => message(entry));
  }
  for (const { message: unsent } of current.outbox.values()) {
    put(`unsent ${unsent.id}`, () => message({ ...unsent, name: me.name, isOwn: true, isUnsent: true }));
  }
  if (items.length === 0) {
    const text = "Nobody has said anything yet. Open this page in a second window and say hello.";
    put("empty", () => element("li", "note", text));
  }
  fill(list, items);
  list.dataset.room = current.name;
  if (isAtEnd) list.scrollTo({ top: list.scrollHeight, behavior: "instant" });
}

function message({ name, text, at, isOwn = false, isUnsent = false, offset }) {
  const item = element("li", `message${isOwn ? " own" : ""}${isUnsent ? " unsent" : ""}`);
  if (!isUnsent) item.dataset.offset = offset;
  const head = element("small", "");
  head.append(element("b", "", isOwn ? "You" : name));
  const time = at === undefined ? "" : new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  head.append(element("span", "", isUnsent ? "not sent yet" : time));
  item.append(head, element("p", "", text));
  return item;
}

function drawMembers() {
  const people = new Map();
  for (const { user, conn_info: info } of current.members.values()) {
    const person = people.get(user) ?? { name: String(info?.name ?? (user || "nobody")), windows: 0, isMe: user === me.user };
    person.windows += 1;
    people.set(user, person);
  }
  const sorted = [...people.values()].sort((a, b) => a.name.localeCompare(b.name));
  $("here").textContent = client.isConnected ? `Here now: ${sorted.length}` : "Here now: unknown";
  const items = sorted.map(({ name, windows, isMe }) => {
    const more = [isMe ? "you" : "", windows > 1 ? `${windows} windows` : ""].filter(Boolean).join(", ");
    const make = () => {
      const item = element("li", "", name);
      if (more !== "") item.append(element("small", "", ` (${more})`));
      return item;
    };
    return [`${name} ${more}`, make];
  });
  fill($("members"), items);
}

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text !== "") current.say(text);
  $("text").value = "";
};

let typedAt = 0;
$("text").oninput = () => {
  if (!client.isConnected || Date.now() - typedAt < TYPING_EVERY_MS) return;
  typedAt = Date.now();
  client.call({ publish: { channel: current.typingChannel, data: { at: typedAt } } }).catch(() => {});
};

$("add").onsubmit = (event) => {
  event.preventDefault();
  const name = $("room").value.trim().toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");
  $("room").value = "";
  if (name === "") return;
  if (!rooms.has(name)) add(name);
  save("rooms", [...rooms.keys()]);
  open(name);
};

$("name").onchange = () => {
  // Another name is another user, with other unread counts: begin anew.
  save("name", $("name").value);
  location.reload();
};

$("network").onclick = () => {
  const isOff = $("network").ariaPressed !== "true";
  $("network").ariaPressed = String(isOff);
  $("network").textContent = isOff ? "Go online" : "Go offline";
  isOff ? client.leave() : client.connect();
};

// The browser knows sooner than a ping that is late.
addEventListener("offline", () => client.leave());
addEventListener("online", () => $("network").ariaPressed !== "true" && client.connect());

document.addEventListener("visibilitychange", () => current.show());
document.addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!event.altKey || step === undefined) return;
  event.preventDefault();
  const all = [...rooms.keys()];
  open(all[(all.indexOf(current.name) + step + all.length) % all.length]);
});

$("name").value = me.name;
names.forEach(add);
const wanted = location.hash.slice(1);
if (/^[a-z0-9-]{1,24}$/.test(wanted) && !rooms.has(wanted)) add(wanted);
open(rooms.has(wanted) ? wanted : names[0]);
client.connect();
