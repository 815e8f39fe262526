// Debian's Chromium under playwright-core, kept from talking to anybody but the hub.

import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Starts a browser. Without it the tests fail: they are never skipped. */
export function launch() {
  if (!existsSync(executablePath)) throw new Error(`${executablePath} is missing: run 'make test' or install chromium`);
  const quiet = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];
  return chromium.launch({
    executablePath,
    // As root, as containers and CI run, Chromium's sandbox can't start; it sees only our own page.
    args: ['--no-sandbox', ...quiet, '--disable-component-update', '--disable-sync'],
  });
}
