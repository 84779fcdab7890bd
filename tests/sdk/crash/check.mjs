// What must be true of a room after a crash: nothing acknowledged is lost, nothing is there twice or
// out of order, and every subscriber saw exactly the room's history, over all its recoveries.
//
// Nothing here talks to a server: everything that was sent, kept and seen comes as an argument.

import { isWhole, name } from "./message.mjs";

/** Publications that one recovery may bring. Source: PROTOCOL.md 20, recovery_max_publication_limit. */
export const RECOVERY_LIMIT = 300;

/**
 * What is wrong with a room: a list of `{ kind, detail }`, empty if all is well.
 *
 * `sent` maps the name of every message that was sent to the room to whether it was acknowledged, or
 * to the offset with which it was.
 * `history` is `{ epoch, offset, publications: [{ offset, data }] }`, the whole of it, as it is read.
 * `views` is a list of what each subscriber saw: `{ who, events }`, where an event is either
 * `{ subscribed: { epoch, offset, wasRecovering, recovered } }` or `{ publication: { offset, data } }`.
 */
export function judge({ sent, history, views }) {
  const violations = [];
  const report = (kind, detail) => violations.push({ kind, detail });
  judgeOffsets(history, report);
  judgeMessages(sent, history, report);
  for (const view of views) {
    judgeView(view, history, (kind, detail) => report(kind, `${view.who} ${detail}`));
  }
  return violations;
}

/** The offsets of a history go from 1 to its top. */
function judgeOffsets({ offset: top, publications }, report) {
  let last = 0;
  for (const { offset } of publications) {
    if (offset > last + 1) {
      report("hole", `offset ${last} is followed by ${offset}`);
    } else if (offset <= last) {
      report("offset", `offset ${last} is followed by ${offset}`);
    }
    last = offset;
  }
  if (last !== top) {
    report("hole", `the last offset is ${last}, the room's is ${top}`);
  }
}

/** Messages are whole, known, there once, in their publisher's order; the acknowledged ones are there. */
function judgeMessages(sent, { publications }, report) {
  const offsets = new Map();
  const numbers = new Map();
  for (const { offset, data } of publications) {
    if (!isWhole(data)) {
      report("altered", `offset ${offset} holds ${JSON.stringify(data)}`);
      continue;
    }
    const { publisher, number } = data;
    const message = name(publisher, number);
    if (!sent.has(message)) {
      report("unknown", `offset ${offset} holds ${message}, which was never sent here`);
    } else if (offsets.has(message)) {
      report("duplicate", `${message} is at the offsets ${offsets.get(message)} and ${offset}`);
    } else if (number < (numbers.get(publisher) ?? 0)) {
      report("order", `${message} is at offset ${offset}, after ${name(publisher, numbers.get(publisher))}`);
    }
    offsets.set(message, offset);
    numbers.set(publisher, Math.max(number, numbers.get(publisher) ?? 0));
  }
  for (const [message, acknowledged] of sent) {
    if (acknowledged !== false && !offsets.has(message)) {
      report("lost", `${message} was acknowledged`);
    } else if (Number.isInteger(acknowledged) && offsets.get(message) !== acknowledged) {
      report("moved", `${message} was acknowledged at offset ${acknowledged}; it is at ${offsets.get(message)}`);
    }
  }
}

/** A subscriber saw everything from where it began to the room's top, once and in order. */
function judgeView({ events }, history, report) {
  const kept = new Map(history.publications.map(({ offset, data }) => [offset, JSON.stringify(data)]));
  const seen = new Set();
  let last;
  for (const { subscribed, publication } of events) {
    if (subscribed !== undefined) {
      last = judgeSubscribed(subscribed, last, history, report);
      continue;
    }
    const { offset, data } = publication;
    if (last === undefined) {
      report("early", `saw offset ${offset} before it was subscribed`);
      last = offset - 1;
    }
    if (seen.has(offset)) {
      report("seen twice", `saw offset ${offset} again after ${last}`);
    } else if (offset <= last) {
      report("seen late", `saw offset ${offset} after ${last}`);
    } else if (offset > last + 1) {
      report("missed", `saw offset ${offset} after ${last}`);
    }
    if (kept.get(offset) !== JSON.stringify(data)) {
      report("differs", `saw ${JSON.stringify(data)} at offset ${offset}, where there is ${kept.get(offset)}`);
    }
    seen.add(offset);
    last = Math.max(last, offset);
  }
  if (last === undefined) {
    report("missed", "was never subscribed");
  } else if (last !== history.offset) {
    report("missed", `saw nothing after offset ${last}; the room's top is ${history.offset}`);
  }
}

/** A subscription begins where it ended before; returns the offset after which it goes on. */
function judgeSubscribed({ epoch, offset, wasRecovering, recovered }, last, history, report) {
  if (epoch !== history.epoch) {
    report("epoch", `was told the epoch ${epoch}; it is ${history.epoch}`);
  }
  if (last === undefined) {
    return offset;
  }
  if (!wasRecovering) {
    report("unrecovered", `came back after offset ${last} without being recovered`);
  } else if (recovered && offset !== last) {
    report("position", `was recovered from offset ${offset}, not from ${last}`);
  } else if (!recovered && offset - last <= RECOVERY_LIMIT) {
    report("unrecovered", `was not recovered from offset ${last}, with the room's top at ${offset}`);
  }
  return recovered ? last : offset;
}

/** What is wrong with a history that is read again later, as it was `before`: nothing may change. */
export function judgeAgain(before, after) {
  const violations = [];
  if (before.epoch !== after.epoch) {
    violations.push({ kind: "epoch", detail: `was ${before.epoch} and is ${after.epoch}` });
  }
  if (before.offset !== after.offset) {
    violations.push({ kind: "hole", detail: `the room's top was ${before.offset} and is ${after.offset}` });
  }
  const count = Math.max(before.publications.length, after.publications.length);
  for (let i = 0; i < count; i++) {
    const [was, is] = [before.publications[i], after.publications[i]].map((one) => JSON.stringify(one));
    if (was !== is) {
      violations.push({ kind: "changed", detail: `publication ${i} was ${was} and is ${is}` });
      break;
    }
  }
  return violations;
}

/** Of the messages that were sent but not acknowledged: how many are in the history, how many not. */
export function inDoubt({ sent, history }) {
  const there = new Set(history.publications.map(({ data }) => name(data?.publisher, data?.number)));
  const doubtful = [...sent].filter(([, acknowledged]) => acknowledged === false);
  const kept = doubtful.filter(([message]) => there.has(message)).length;
  return { kept, gone: doubtful.length - kept };
}
