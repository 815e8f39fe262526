// Runs the README's code blocks, so that what it says stays true.
//
// An HTML comment before a block says what happens to it:
//   <!-- ci: file NAME -->       it is written to NAME
//   <!-- ci: serve PORT -->      it is started, and has to serve /livez at PORT on loopback
//   <!-- ci: node prints X -->   it is a module that runs until it has printed a line with X
// Blocks without one are shown only. Files and commands share one temporary directory, with the
// release binary on the path; `cargo` runs in the repository.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'fanfare-readme-'));
const env = { ...process.env, PATH: join(root, 'target/release') + delimiter + process.env.PATH };
const PATIENCE_MS = 120_000;
const running = [];

const blocks = [...readFileSync(join(root, 'README.md'), 'utf8')
  .matchAll(/<!-- ci: (\w+) (.+?) -->\n+```\w+\n([\s\S]*?)```/g)]
  .map(([, verb, argument, text]) => ({ verb, argument, text }));

/** Starts a process of its own group, ended with all its children. */
function start(command, args, cwd) {
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  return child;
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid, 'SIGTERM');
  await once(child, 'exit');
}

async function serves(child, port) {
  const deadline = Date.now() + PATIENCE_MS;
  while (Date.now() < deadline) {
    assert.equal(child.exitCode, null, 'it ended before it served');
    const answer = await fetch(`http://127.0.0.1:${port}/livez`).catch(() => null);
    if (answer?.ok) return;
    await pause(50); // Between two looks at a port that nobody rings for.
  }
  throw new Error(`nothing serves port ${port}`);
}

const verbs = {
  file: ({ argument, text }) => writeFileSync(join(folder, argument), text),

  serve: async ({ argument, text }) => {
    const words = text.trim().split(/\s+/);
    const child = start(words[0], words.slice(1), words[0] === 'cargo' ? root : folder);
    child.stdout.resume();
    await serves(child, argument);
  },

  node: async ({ argument, text }) => {
    const wanted = argument.replace(/^prints /, '');
    // Node 20 has no WebSocket of its own; the packages are those of the SDK tests.
    const preface = "import WebSocket from 'ws'; globalThis.WebSocket ??= WebSocket;\n";
    const module = join(root, 'tests/sdk', `.readme-${process.pid}.mjs`);
    writeFileSync(module, preface + text);
    try {
      const child = start(process.execPath, [module], root);
      const patience = setTimeout(() => end(child), PATIENCE_MS);
      let seen = false;
      for await (const line of createInterface({ input: child.stdout })) {
        if (line.includes(wanted)) {
          seen = true;
          break;
        }
      }
      clearTimeout(patience);
      await end(child);
      assert.ok(seen, `it never printed ${wanted}`);
    } finally {
      rmSync(module);
    }
  },
};

let failed = 0;
try {
  assert.ok(blocks.length >= 4, 'the README lost its marked blocks');
  for (const block of blocks) {
    try {
      assert.ok(verbs[block.verb], `README: no such verb: ${block.verb}`);
      await verbs[block.verb](block);
      console.log(`ok: ${block.verb} ${block.argument}`);
    } catch (error) {
      failed += 1;
      console.error(`FAILED: ${block.verb} ${block.argument}: ${error.message}`);
    }
  }
} finally {
  await Promise.all(running.map(end));
  rmSync(folder, { recursive: true });
}
process.exitCode = failed ? 1 : 0;
