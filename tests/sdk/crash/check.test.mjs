// The checker finds every kind of violation, and none where there is none.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RECOVERY_LIMIT, inDoubt, judge, judgeAgain } from "./check.mjs";
import { message, name } from "./message.mjs";

const EPOCH = "abcdefgh";

/** The publications of messages `[publisher, number]`, from offset 1. */
function publications(...messages) {
  return messages.map((one, i) => ({ offset: i + 1, data: message(...one) }));
}

function subscribedAt(offset, more = {}) {
  return { subscribed: { epoch: EPOCH, offset, wasRecovering: false, recovered: false, ...more } };
}

/** A room where all went well: five messages, the last of them in doubt, and a view with a recovery. */
function room() {
  const kept = publications([1, 1], [2, 1], [1, 2], [1, 3], [2, 2]);
  const [first, second, ...rest] = kept.map((publication) => ({ publication }));
  const recovered = subscribedAt(2, { wasRecovering: true, recovered: true });
  return {
    sent: new Map(kept.map(({ data }, i) => [name(data.publisher, data.number), i < 4])),
    history: { epoch: EPOCH, offset: 5, publications: kept },
    views: [{ who: "subscriber 1", events: [subscribedAt(0), first, second, recovered, ...rest] }],
  };
}

/** The kinds of what is wrong after `spoil` had its way with a good room. */
function kinds(spoil) {
  const spoilt = room();
  spoil(spoilt, spoilt.views[0].events);
  return [...new Set(judge(spoilt).map(({ kind }) => kind))].sort();
}

test("a room where all went well has no violation", () => {
  assert.deepEqual(judge(room()), []);
});

test("a view may begin in the middle of the history", () => {
  assert.deepEqual(kinds((_, events) => events.splice(0, 2, subscribedAt(1))), []);
});

test("an acknowledged message that is missing is lost", () => {
  assert.deepEqual(kinds(({ sent }) => sent.set("9-9", true)), ["lost"]);
});

test("an acknowledged message that was at the end, whose offset another got, is lost", () => {
  const found = kinds(({ history, sent }) => {
    sent.set("7-1", false);
    history.publications[3] = { offset: 4, data: message(7, 1) };
  });
  assert.deepEqual(found, ["differs", "lost"]);
});

test("a message that is not where it was acknowledged has moved", () => {
  assert.deepEqual(kinds(({ sent }) => sent.set("2-1", 2)), []);
  assert.deepEqual(kinds(({ sent }) => sent.set("2-1", 3)), ["moved"]);
  assert.deepEqual(kinds(({ sent }) => sent.set("9-9", 6)), ["lost"]);
});

test("a message in doubt may be there or not", () => {
  assert.deepEqual(kinds(({ sent }) => sent.set("9-9", false)), []);
  assert.deepEqual(inDoubt(room()), { kept: 1, gone: 0 });
  const one = room();
  one.sent.set("9-9", false);
  assert.deepEqual(inDoubt(one), { kept: 1, gone: 1 });
});

test("a message that is there twice is a duplicate, acknowledged or in doubt", () => {
  for (const original of [[2, 1], [2, 2]]) {
    const found = kinds(({ history, views }) => {
      history.publications.push({ offset: 6, data: message(...original) });
      history.offset = 6;
      views[0].events.push({ publication: history.publications[5] });
    });
    assert.deepEqual(found, ["duplicate"]);
  }
});

test("a message that nobody sent is unknown", () => {
  assert.deepEqual(kinds(({ sent }) => sent.delete("2-2")), ["unknown"]);
});

test("a message that is not as it was sent is altered", () => {
  for (const data of [{ publisher: 2, number: 2, text: "torn" }, null, "text", { ...message(2, 2), more: 1 }]) {
    const found = kinds(({ history }) => (history.publications[4].data = data));
    assert.deepEqual(found, ["altered"], JSON.stringify(data));
  }
});

test("messages of one publisher in another order are out of order", () => {
  const found = kinds(({ history: { publications } }) => {
    [publications[2].data, publications[3].data] = [publications[3].data, publications[2].data];
  });
  assert.deepEqual(found, ["order"]);
});

test("a hole in the offsets is found at the beginning, in the middle and at the end", () => {
  const beginning = kinds(({ history, sent }) => history.publications.shift() && sent.delete("1-1"));
  assert.deepEqual(beginning, ["differs", "hole"]);
  const middle = kinds(({ history, sent }) => history.publications.splice(2, 1) && sent.delete("1-2"));
  assert.deepEqual(middle, ["differs", "hole"]);
  assert.deepEqual(kinds(({ history }) => (history.offset = 6)), ["hole", "missed"]);
});

test("an offset that is there twice is found", () => {
  assert.ok(kinds(({ history }) => (history.publications[4].offset = 4)).includes("offset"));
});

test("another epoch than the one before is found", () => {
  assert.deepEqual(kinds(({ history }) => (history.epoch = "another")), ["epoch"]);
  assert.deepEqual(kinds((_, events) => (events[3].subscribed.epoch = "another")), ["epoch"]);
});

test("a publication that a subscriber did not see was missed", () => {
  assert.deepEqual(kinds((_, events) => events.splice(1, 1)), ["missed"]);
  assert.deepEqual(kinds((_, events) => events.splice(4, 1)), ["missed"], "the first of a recovery");
  assert.deepEqual(kinds((_, events) => events.pop()), ["missed"], "the last of all");
  assert.deepEqual(kinds((_, events) => events.splice(0)), ["missed"], "a subscriber that saw nothing");
});

test("a publication that a subscriber sees twice is found, live and by a recovery", () => {
  assert.deepEqual(kinds((_, events) => events.push(events.at(-1))), ["seen twice"]);
  assert.deepEqual(kinds((_, events) => events.splice(4, 0, events[2])), ["seen twice"]);
});

test("publications that a subscriber sees in another order are found", () => {
  const found = kinds((_, events) => ([events[4], events[5]] = [events[5], events[4]]));
  assert.deepEqual(found, ["missed", "seen late"]);
});

test("a publication that is not what the history holds at its offset is found", () => {
  const other = { offset: 5, data: message(1, 3) };
  assert.deepEqual(kinds((_, events) => (events[6] = { publication: other })), ["differs"]);
});

test("a publication above the room's top is found", () => {
  const beyond = { publication: { offset: 6, data: message(3, 1) } };
  assert.deepEqual(kinds((_, events) => events.push(beyond)), ["differs", "missed"]);
});

test("a publication before the subscription is found", () => {
  assert.deepEqual(kinds((_, events) => events.shift()), ["early"]);
});

test("a recovery that failed is found, unless it would have been too long", () => {
  const failedAt = (events, offset) => {
    Object.assign(events[3].subscribed, { recovered: false, offset });
    events.splice(4);
  };
  assert.deepEqual(kinds((_, events) => failedAt(events, 5)), ["unrecovered"]);
  const long = room();
  const numbers = Array.from({ length: RECOVERY_LIMIT + 3 }, (_, i) => [1, i + 1]);
  long.history.publications = publications(...numbers);
  long.history.offset = numbers.length;
  long.sent = new Map(numbers.map((one) => [name(...one), true]));
  const { events } = long.views[0];
  events[2] = { publication: long.history.publications[1] };
  failedAt(events, long.history.offset);
  assert.deepEqual(judge(long), []);
  events[3].subscribed.offset = RECOVERY_LIMIT + 2;
  events.push({ publication: long.history.publications.at(-1) });
  assert.deepEqual(judge(long).map(({ kind }) => kind), ["unrecovered"], "it would just have fitted");
});

test("a subscription that comes back without a recovery is found", () => {
  assert.deepEqual(kinds((_, events) => (events[3].subscribed.wasRecovering = false)), ["unrecovered"]);
});

test("a recovery from another position than the last one is found", () => {
  assert.deepEqual(kinds((_, events) => (events[3].subscribed.offset = 1)), ["position"]);
});

test("a history that changes later is found", () => {
  const { history } = room();
  assert.deepEqual(judgeAgain(history, structuredClone(history)), []);
  const cases = [
    ["epoch", (later) => (later.epoch = "another")],
    ["hole", (later) => (later.offset = 4)],
    ["changed", (later) => later.publications.pop()],
    ["changed", (later) => (later.publications[0].data.text = "another")],
  ];
  for (const [kind, spoil] of cases) {
    const later = structuredClone(history);
    spoil(later);
    assert.deepEqual(judgeAgain(history, later).map((one) => one.kind), [kind]);
  }
});
