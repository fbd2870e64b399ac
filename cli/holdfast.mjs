#!/usr/bin/env node
// Starts main.ts by the Node that Holdfast needs: this one, or the one that npm installed beside it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, 'main.ts');
// Halves the start of a command; what it starts inherits it. Not there, or not writable: Node goes without.
process.env.NODE_COMPILE_CACHE ??= join(here, '..', 'node_modules', '.cache', 'holdfast');

if (Number(process.versions.node.split('.')[0]) >= 24) {
  module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  await import('./main.ts');
} else {
  const node = pinnedNode();
  if (node === undefined) {
    console.error(
      `holdfast: Node ${process.version} is too old (24 is needed), and the one of the npm package "node" is missing.`,
    );
    console.error('Run `npm install` in the folder of Holdfast, or use Node 24.');
    process.exit(1);
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
  // Ctrl-C reaches the child by the terminal; the others are passed on. Either way the child decides when it ends.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`holdfast: ${node} cannot be started: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

function pinnedNode() {
  for (let folder = here; folder !== dirname(folder); folder = dirname(folder)) {
    for (const file of ['node', 'node.exe']) {
      const path = join(folder, 'node_modules', 'node', 'bin', file);
      if (existsSync(path)) return path;
    }
  }
  return undefined;
}
