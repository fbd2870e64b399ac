/**
 * Runs the embedded Postgres as a process: `node postgres.ts DATA_DIR SOCKET`. It sends `ready` by IPC, and
 * shuts down cleanly on SIGTERM or when its parent process has ended.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { startPostgresFront } from './postgres-front.ts';

const [dataDir = '', socket = ''] = process.argv.slice(2);

// Registered before the database is opened, which takes seconds, so that a signal in the meantime is not lost.
const stopped = new Promise<void>((stop) => {
  process.once('SIGTERM', stop);
  process.once('disconnect', stop);
  if (!process.connected) stop();
});

for (const folder of [dataDir, dirname(socket)]) mkdirSync(folder, { recursive: true, mode: 0o700 });
const database = await PGlite.create({ dataDir });
const front = await startPostgresFront({ database, socket });
if (process.connected) process.send?.('ready');

await stopped;
await front.close();
// Here too, for when whoever started this process was killed.
rmSync(dirname(socket), { recursive: true, force: true });
await database.close();
process.exit(0);
