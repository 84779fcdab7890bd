// A torn last write: what a power cut leaves of a file that was being appended to.
//
// A disk may have kept any part of what was written since the last fsync. That is had by comparing two
// images of the store's directory: one taken while the server stood still and no client could hear it
// any more, which holds everything that was ever acknowledged, and what a kill -9 left a moment later.
// Only bytes in which the two differ are touched, so nothing that was acknowledged is.
//
// A process that is killed while it writes leaves a file that ends early, and nothing worse. What only
// the end of the machine can leave comes with that: whatever the server noted of the boot in which it
// ran is made to name another.

import { closeSync, ftruncateSync, openSync, readFileSync, readdirSync, statSync } from "node:fs";
import { writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What disks write and lose as one. */
const BLOCK_BYTES = 4096;

/** The kinds of torn writes that a process leaves that is killed, and those that only a machine leaves. */
const PROCESS_KINDS = ["cut", "zeros"];
const MACHINE_KINDS = ["garbage", "hole"];
export const KINDS = [...PROCESS_KINDS, ...MACHINE_KINDS];

/** Where the kernel tells which boot this is. */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** The files below `directory`, with what the file system says of them. */
function list(directory) {
  const options = { bigint: true, throwIfNoEntry: false };
  const paths = readdirSync(directory, { recursive: true });
  const files = paths.map((path) => ({ path, stat: statSync(join(directory, path), options) }));
  return files.filter(({ stat }) => stat?.isFile());
}

/** The contents of all files below `directory`, by their path. */
export function image(directory) {
  return new Map(list(directory).map(({ path }) => [path, readFileSync(join(directory, path))]));
}

/** A text that is another once something was written below `directory`. */
export function stamp(directory) {
  return list(directory).map(({ path, stat }) => `${path} ${stat.size} ${stat.mtimeNs}`).join("\n");
}

/** Where `first` and `second` differ for the first time; undefined if they do not. */
export function difference(first, second) {
  const shared = Math.min(first.length, second.length);
  if (first.compare(second, 0, shared, 0, shared) === 0) {
    return first.length === second.length ? undefined : shared;
  }
  let [same, step] = [0, shared];
  while (step > 1) {
    step = Math.ceil(step / 2);
    const end = Math.min(same + step, shared);
    if (first.compare(second, same, end, same, end) === 0) {
      same = end;
    }
  }
  return same;
}

/** The end of what `bytes` hold from `start` on: files may be made long before they are filled. */
function filledEnd(bytes, start) {
  let end = bytes.length;
  while (end > start && bytes[end - 1] === 0) {
    end -= 1;
  }
  return end;
}

/**
 * Tears what was written below `directory` since the image `before` was taken, as `random` says.
 *
 * Returns what was done: `{ file, kind, start, end, at, isReboot }`, the bytes written since being
 * `start` to `end` of the file and those before `at` untouched; or `{ spared }`, a reason why nothing was done:
 * nothing was written, or files came, went or changed together, of which not every mix can happen.
 */
export function tear(directory, before, random) {
  const after = image(directory);
  const paths = new Set([...before.keys(), ...after.keys()]);
  const changed = [...paths].filter((path) => {
    const [was, is] = [before.get(path), after.get(path)];
    return was === undefined || is === undefined || difference(was, is) !== undefined;
  });
  if (changed.length !== 1) {
    return { spared: changed.length === 0 ? "nothing was written" : `${changed.length} files were changed` };
  }
  const [file] = changed;
  if (!before.has(file) || !after.has(file)) {
    return { spared: `${file} came or went` };
  }
  const [was, is] = [before.get(file), after.get(file)];
  const start = difference(was, is);
  const end = filledEnd(is, start);
  if (end <= start || was.subarray(start).some((byte) => byte !== 0)) {
    return { spared: `${file} was not appended to` };
  }
  const kind = random.of(KINDS);
  const at = random.between(start, end - 1);
  const torn = Buffer.from(is);
  let length = torn.length;
  if (kind === "cut") {
    // What the file was before, from there on: shorter, or as empty as it had been made.
    torn.fill(0, at);
    length = Math.max(at, was.length);
  } else if (kind === "zeros") {
    torn.fill(0, at);
  } else if (kind === "garbage") {
    torn.fill(0, at);
    random.bytes(Math.min(random.between(1, 2 * BLOCK_BYTES), torn.length - at)).copy(torn, at);
  } else {
    const block = at - (at % BLOCK_BYTES);
    torn.fill(0, Math.max(block, start), Math.min(block + BLOCK_BYTES, end));
  }
  overwrite(join(directory, file), torn.subarray(start, length), start, length);
  const isReboot = MACHINE_KINDS.includes(kind) || random.chance(0.5);
  if (isReboot) {
    reboot(directory, after);
  }
  return { file, kind, start, end, at: kind === "hole" ? Math.max(at - (at % BLOCK_BYTES), start) : at, isReboot };
}

/** Makes the small files among `files` that name this boot of the machine name another. */
function reboot(directory, files) {
  const boot = readFileSync(BOOT_ID, "utf8").trim();
  const other = boot.replace(/[0-9a-f]/g, (digit) => (15 - parseInt(digit, 16)).toString(16));
  for (const [path, bytes] of files) {
    if (bytes.length <= BLOCK_BYTES && bytes.includes(boot)) {
      writeFileSync(join(directory, path), bytes.toString("latin1").replaceAll(boot, other), "latin1");
    }
  }
}

function overwrite(path, bytes, start, length) {
  const file = openSync(path, "r+");
  ftruncateSync(file, length);
  writeSync(file, bytes, 0, bytes.length, start);
  closeSync(file);
}
