// The browser of these tests: the system's Chromium, which asks nobody on the network for anything.

import { chromium } from "playwright-core";

/** Starts it, with `more` arguments of its command line. */
export function launch(...more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...more,
    ],
  });
}
