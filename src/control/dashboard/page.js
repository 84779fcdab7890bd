// What the dashboard does: follows the snapshots, shows them, and steers a drain.
//
// Texts of the server, names of rooms among them, are only ever set as text.

const $ = (id) => document.getElementById(id);

// How many beats a line shows.
const BEATS = 120;
// A stream that is silent for so long is broken.
const SILENCE_MS = 5000;
const RETRY_MS = 2000;

const CODES = {
  0: "any other code",
  1000: "normal",
  1001: "going away",
  1002: "protocol error",
  1003: "unsupported data",
  1005: "no code",
  1006: "without a close frame",
  1007: "invalid text",
  1009: "message too long",
  1011: "internal error",
  3000: "connection closed",
  3001: "shutdown",
  3004: "internal server error",
  3005: "connection expired",
  3006: "subscription expired",
  3008: "slow",
  3009: "write error",
  3010: "insufficient state",
  3011: "force reconnect",
  3012: "no pong",
  3013: "too many requests",
  3014: "state invalidated",
  3500: "invalid token",
  3501: "bad request",
  3502: "stale",
  3503: "force disconnect",
  3504: "connection limit",
  3505: "channel limit",
  3506: "inappropriate protocol",
  3507: "permission denied",
  3508: "not available",
  3509: "too many errors",
};
const REASONS = {
  backlog: "Closed: its own backlog was full",
  budget: "Closed: the sum of all backlogs was full, and its part the largest",
  behind: "Closed: it fell behind again and again",
};

// The key for a listener that asks for one; here and nowhere else.
let key = new URLSearchParams(location.search).get("api_key") ?? "";
if (key) history.replaceState(null, "", location.pathname);
const headers = () => (key ? { "X-API-Key": key } : {});

// Texts

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function count(value) {
  if (value == null) return "–";
  if (value >= 1e7) return `${fine.format(value / 1e6)} M`;
  return (value < 10 ? fine : whole).format(value);
}

function bytes(value) {
  if (value == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${(unit && value < 100 ? fine : whole).format(value)} ${units[unit]}`;
}

function time(us) {
  if (us < 1000) return `${whole.format(us)} µs`;
  if (us < 1e6) return `${(us < 1e5 ? fine : whole).format(us / 1e3)} ms`;
  return `${fine.format(us / 1e6)} s`;
}

function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  const shown = first < 0 ? parts.slice(3) : parts.slice(first, first + 2);
  return shown.map(([value, unit]) => `${value} ${unit}`).join(" ");
}

const percent = (part) => `${(part < 0.1 ? fine : whole).format(part * 100)} %`;
const connections = (number) => `${count(number)} connection${number === 1 ? "" : "s"}`;

function set(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

// Lines

const lines = new Map();

function draw(svg, value) {
  const name = svg.dataset.line;
  const values = lines.get(name) ?? [];
  lines.set(name, values);
  values.push(value ?? 0);
  if (values.length > BEATS) values.shift();
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", `0 0 ${BEATS - 1} 100`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    for (const shape of ["polygon", "polyline"]) {
      svg.append(document.createElementNS("http://www.w3.org/2000/svg", shape));
    }
  }
  const top = Math.max(...values) || 1;
  const from = BEATS - values.length;
  const points = values.map((value, at) => `${from + at},${(98 - (value / top) * 96).toFixed(1)}`);
  svg.children[0].setAttribute("points", `${from},100 ${points.join(" ")} ${BEATS - 1},100`);
  svg.children[1].setAttribute("points", points.join(" "));
}

// Lists and tables: rows stay, and only what they say changes

function rows(parent, items, make, fill) {
  while (parent.children.length > items.length) parent.lastChild.remove();
  while (parent.children.length < items.length) parent.append(make());
  items.forEach((item, at) => fill(parent.children[at], item, at));
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const track = () => element("div", "track", element("i"));
const tableRow = (cells) => () => element("tr", "", ...Array.from({ length: cells }, () => element("td")));

function fillTrack(track, part) {
  const bar = track.firstChild;
  bar.style.transform = `scaleX(${Math.min(Math.max(part, 0), 1)})`;
  bar.className = part >= 0.9 ? "full" : part >= 0.7 ? "near" : "";
}

function fillCells(row, texts) {
  texts.forEach((text, at) => {
    if (text !== null && row.children[at].textContent !== text) row.children[at].textContent = text;
  });
}

// What is shown

function show(now) {
  const { rates, latency, memory } = now;
  document.title = `${count(now.connections.now)} · throng`;
  set("phase", now.phase);
  $("phase").className = `badge ${now.phase}`;
  $("phase").hidden = false;
  $("data").hidden = false;
  set("about", `version ${now.version}, up ${duration(now.uptime_s)}, ${now.shards.length} shards`);
  set("connections", count(now.connections.now));
  set("peak", count(now.connections.peak));
  set("connects", count(rates.connects));
  set("closes", count(rates.closes));
  set("refusals", count(rates.refusals));
  set("deliveries", count(rates.deliveries));
  set("messages", count(rates.messages_in));
  set("writes", count(rates.writes));
  set("coalescing", rates.writes ? fine.format(rates.coalescing) : "–");
  set("p99", latency.count ? time(latency.p99_us) : "–");
  set("p50", latency.count ? time(latency.p50_us) : "–");
  set("measured", count(latency.count));
  set("backlog", bytes(now.backlog.bytes));
  set("backlog-max", bytes(now.backlog.bytes_max));
  set("user", bytes(memory.user_bytes));
  set("user-each", bytes(memory.user_bytes_per_connection));
  set("kernel", bytes(memory.kernel_bytes));
  set("kernel-each", bytes(memory.kernel_bytes_per_connection));
  const values = {
    connections: now.connections.now,
    connects: rates.connects,
    deliveries: rates.deliveries,
    writes: rates.writes,
    p99: latency.p99_us,
    backlog: now.backlog.bytes,
    user: memory.user_bytes,
    kernel: memory.kernel_bytes,
  };
  for (const svg of document.querySelectorAll("svg[data-line]")) draw(svg, values[svg.dataset.line]);
  showLimits(now.limits);
  showShards(now);
  showRooms(now.rooms);
  showEnds(now);
  showDrain(now);
}

function makeLimit() {
  const top = element("div", "row", element("strong"), element("span", "used"));
  return element("li", "", top, track(), element("p", "remedy"));
}

function showLimits(limits) {
  rows($("limits"), limits, makeLimit, (item, limit) => {
    const [top, track, remedy] = item.children;
    const part = limit.max ? limit.used / limit.max : 1;
    const amount = limit.unit === "bytes" ? bytes : count;
    const unit = limit.unit === "bytes" ? "" : ` ${limit.unit}`;
    fillCells(top, [limit.name, `${amount(limit.used)} of ${amount(limit.max)}${unit}, ${percent(part)}`]);
    fillTrack(track, part);
    if (remedy.dataset.text !== limit.remedy) {
      remedy.dataset.text = limit.remedy;
      // What stands between backticks is to be typed.
      const parts = limit.remedy.split("`").map((part, at) => (at % 2 ? element("code", "", part) : part));
      remedy.replaceChildren("To raise it: ", ...parts);
    }
  });
}

function makeShard() {
  const row = tableRow(7)();
  row.children[2].className = "bar";
  row.children[2].append(track());
  return row;
}

function showShards({ shards }) {
  const most = Math.max(...shards.map((shard) => shard.connections)) || 1;
  rows($("shards"), shards, makeShard, (row, shard, at) => {
    const name = shard.is_listening ? `${at}` : `${at} (does not accept)`;
    const cpu = shard.cpu == null ? "–" : percent(shard.cpu);
    const cells = [name, count(shard.connections), null, count(shard.deliveries), cpu];
    fillCells(row, [...cells, bytes(shard.backlog_bytes), count(shard.turns)]);
    row.children[2].firstChild.firstChild.style.transform = `scaleX(${shard.connections / most})`;
  });
}

function showRooms(rooms) {
  $("no-rooms").hidden = rooms.length > 0;
  rows($("rooms"), rooms, tableRow(3), (row, room) => {
    const doubt = room.error >= 1 ? ` − ${count(room.error)}` : "";
    fillCells(row, [room.name, count(room.members), `${count(room.deliveries)}${doubt}`]);
    row.firstChild.title = room.name;
  });
}

function showEnds({ slow, closes }) {
  const done = slow.closed.map(({ reason, count }) => [REASONS[reason] ?? reason, count]);
  const timeouts = closes.find(({ code }) => code === 3009)?.count ?? 0;
  done.push(["Closed: took nothing for the write timeout", timeouts]);
  done.push(["Kept: reads from the history what it missed", slow.recoveries]);
  rows($("slow"), done, tableRow(2), (row, [text, number]) => fillCells(row, [text, whole.format(number)]));
  $("no-ends").hidden = closes.length > 0;
  rows($("ends"), closes, tableRow(2), (row, { code, count }) => {
    const name = CODES[code] ?? "";
    fillCells(row, [code ? `${code} ${name}` : name, whole.format(count)]);
  });
}

// Drain

function showDrain({ drain, connections: { now: held } }) {
  const isUnderWay = drain.state !== "none";
  $("drain").hidden = !isUnderWay;
  $("drain-open").disabled = isUnderWay;
  set("drain-count", held ? connections(held) : "all connections");
  if (!isUnderWay) return;
  const left = `${duration(Math.ceil(drain.left_ms / 1000))} left`;
  const texts = {
    grace: `Draining: not ready any more; ${connections(held)} served until the balancer has noticed, ${left}.`,
    drained: "Drained: nobody is connected any more, and the server ends.",
    closing: `Draining: ${count(drain.closed)} of ${count(drain.total)} connections closed, ${left}.`,
  };
  set("drain-text", texts[drain.state] ?? "Draining: nobody is accepted any more.");
  $("drain-cancel").disabled = drain.state === "drained";
  $("drain-progress").value = drain.total ? drain.closed / drain.total : 0;
}

// What the server answers to a POST; an error with its words if it refuses.
async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(body) });
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(text.trim() || `the server answers ${response.status}`);
  }
  if (answer.error) throw new Error(answer.error.message);
  return answer.result;
}

$("drain-open").addEventListener("click", () => {
  $("drain-error").hidden = true;
  $("drain-dialog").showModal();
});
$("drain-no").addEventListener("click", () => $("drain-dialog").close());
$("drain-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const seconds = $("drain-seconds").value;
  $("drain-yes").disabled = true;
  try {
    await post("api/drain", seconds === "" ? {} : { over_ms: Math.round(Number(seconds) * 1000) });
    $("drain-dialog").close();
  } catch (error) {
    set("drain-error", `It does not drain: ${error.message}`);
    $("drain-error").hidden = false;
  }
  $("drain-yes").disabled = false;
});
$("drain-cancel").addEventListener("click", async () => {
  $("drain-cancel").disabled = true;
  try {
    await post("api/drain/cancel", {});
  } catch (error) {
    set("drain-text", `It goes on: ${error.message}`);
  }
  $("drain-cancel").disabled = false;
});

// The stream

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const isSeen = () => document.visibilityState === "visible";
const seen = () =>
  isSeen() ? null : new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));

function say(text, isLost) {
  set("stream", text);
  $("stream").className = isLost ? "note lost" : "note";
  if (isLost) $("drain-open").disabled = $("drain-cancel").disabled = true;
}

// Completes when somebody has given a key.
function askForKey() {
  say(key ? "That is not the key." : "A key is needed.", true);
  $("key-form").hidden = false;
  $("key").focus();
  return new Promise((resolve) => {
    const take = (event) => {
      event.preventDefault();
      key = $("key").value;
      $("key-form").hidden = true;
      resolve();
    };
    $("key-form").addEventListener("submit", take, { once: true });
  });
}

// Follows the stream until it breaks; what went wrong, in words.
async function follow() {
  const abort = new AbortController();
  let silence;
  const beat = () => {
    clearTimeout(silence);
    silence = setTimeout(() => abort.abort(), SILENCE_MS);
  };
  // A tab that nobody sees costs the server nothing.
  const hide = () => isSeen() || abort.abort();
  document.addEventListener("visibilitychange", hide);
  try {
    beat();
    const response = await fetch("dashboard/events", { headers: headers(), cache: "no-store", signal: abort.signal });
    if (response.status === 401) return "key";
    if (!response.ok) return (await response.text()).trim();
    let text = "";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      beat();
      const events = (text + part.value).split("\n\n");
      text = events.pop();
      for (const event of events.filter((event) => event.startsWith("data: "))) {
        say("Live, once a second.", false);
        show(JSON.parse(event.slice("data: ".length)));
      }
    }
    return "The server ended the stream";
  } catch {
    return "The server does not answer";
  } finally {
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", hide);
  }
}

for (;;) {
  const why = await follow();
  if (why === "key") {
    await askForKey();
  } else {
    say(`${why}. What stands here is old; trying again.`, true);
    await sleep(RETRY_MS);
  }
  await seen();
}
