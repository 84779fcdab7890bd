// A chat in one file: connect, subscribe to a room, publish what is typed, show what arrives.
//
// ?server=ws://… names another server, #room another room. Names are what people type: this page
// is for a server without tokens. With tokens, a message's `info.user` says who sent it.

const DEFAULT_SERVER = "ws://127.0.0.1:8000/connection/websocket";
const NAMES = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Ken", "Margaret", "Dennis"];

const [room, name, status, messages, form, text] = ["room", "name", "status", "messages", "form", "text"].map(
  (id) => document.getElementById(id),
);

const server = new URLSearchParams(location.search).get("server") ?? DEFAULT_SERVER;
const centrifuge = new Centrifuge(server);
let subscription;
let me;

name.value = sessionStorage.name ?? NAMES[Math.floor(Math.random() * NAMES.length)];
name.addEventListener("input", () => (sessionStorage.name = name.value));

function show(state, words) {
  status.dataset.state = state;
  status.textContent = words;
  form.querySelector("button").disabled = state !== "connected";
}

function add({ data, info }) {
  const item = document.createElement("li");
  const from = document.createElement("small");
  from.textContent = data.name;
  item.classList.toggle("mine", info?.client === me);
  item.append(from, data.text);
  messages.append(item);
  item.scrollIntoView();
}

/** Leaves the room one was in and enters the one that the address names. */
function enter() {
  if (subscription !== undefined) {
    subscription.unsubscribe();
    centrifuge.removeSubscription(subscription);
  }
  messages.replaceChildren();
  room.value = decodeURIComponent(location.hash.slice(1)) || "lobby";
  document.title = `${room.value} · throng chat`;
  subscription = centrifuge.newSubscription(room.value);
  subscription.on("publication", add);
  subscription.on("subscribed", () => show("connected", "connected"));
  subscription.on("unsubscribed", ({ code, reason }) => {
    if (code > 0) {
      show("disconnected", `cannot enter ${room.value}: ${reason} (${code})`);
    }
  });
  subscription.subscribe();
}

room.addEventListener("change", () => (location.hash = room.value.trim()));
addEventListener("hashchange", enter);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (words === "") {
    return;
  }
  text.value = "";
  subscription.publish({ name: name.value, text: words }).catch(({ message }) => {
    text.value = words;
    show("disconnected", `not sent: ${message}`);
  });
});

centrifuge.on("connected", ({ client }) => (me = client));
centrifuge.on("connecting", () => show("connecting", "connecting"));
centrifuge.on("error", ({ type }) => {
  if (type === "transport") {
    show("connecting", `waiting for ${server} (is throng serve running?)`);
  }
});
centrifuge.on("disconnected", ({ code, reason }) => show("disconnected", `${reason} (${code})`));

show("connecting", "connecting");
enter();
centrifuge.connect();
text.focus();
