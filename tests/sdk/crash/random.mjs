// Chance that can be had again: the same seed gives the same numbers.

/** A source of numbers made from `seed`, an integer. The generator is Mulberry32: 32 bits of state. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from `low` to `high`, both possible. */
  between(low, high) {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** One of `list`. */
  of(list) {
    return list[this.between(0, list.length - 1)];
  }

  /** True with the probability `part` of 1. */
  chance(part) {
    return this.next() < part;
  }

  /** Another source, whose numbers do not depend on how many this one gives from now on. */
  fork() {
    return new Random(this.between(0, 2 ** 32 - 1));
  }

  /** `length` bytes. */
  bytes(length) {
    return Buffer.from(Array.from({ length }, () => this.between(0, 255)));
  }
}
