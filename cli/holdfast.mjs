#!/usr/bin/env node
// Runs main.ts with the Node that Holdfast needs: this one, or the one that npm installed in node_modules.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, 'main.ts');
// The compile cache halves the start of a command, and child processes inherit it. Node does without it if it cannot write there.
process.env.NODE_COMPILE_CACHE ??= join(here, '..', 'node_modules', '.cache', 'holdfast');

if (Number(process.versions.node.split('.')[0]) >= 24) {
  module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  await import('./main.ts');
} else {
  const node = pinnedNode();
  if (node === undefined) {
    console.error(
      `holdfast: Node ${process.version} is too old: Holdfast needs Node 24, and none is installed in node_modules.`,
    );
    console.error('Run `npm install` in the folder of Holdfast without `--omit=optional`, or use Node 24.');
    process.exit(1);
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
  // The terminal sends Ctrl-C to the child itself; other signals are forwarded. The child decides when it ends.
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

/** The executable of the optional dependency for this platform; package.json pins one for each. */
function pinnedNode() {
  const os = process.platform === 'win32' ? 'win' : process.platform;
  const executable = process.platform === 'win32' ? 'node.exe' : 'node';
  for (let folder = here; folder !== dirname(folder); folder = dirname(folder)) {
    for (const name of [`node-${os}-${process.arch}`, `node-bin-${os}-${process.arch}`]) {
      const path = join(folder, 'node_modules', name, 'bin', executable);
      if (existsSync(path)) return path;
    }
  }
  return undefined;
}
