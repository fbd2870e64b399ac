/**
 * Ensures that only one `holdfast start` runs in a folder. The claim is a file with a port on which the claimant
 * answers with the folder's name, so that a file left by a crash, or a reused process id, is not mistaken for a running
 * process.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { listen } from '../../shared/net/listen.ts';
import { UsageError } from '../../shared/command/exit-code.ts';

export interface Claim {
  release(): Promise<void>;
}

const answerDeadlineMs = 2_000;
const attempts = 3;

/** @throws UsageError if another process has claimed the folder. */
export async function claimFolder(folder: string): Promise<Claim> {
  const file = join(folder, 'start.json');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.end(folder);
  });
  const { port } = await listen(server, { host: '127.0.0.1', port: 0 });
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  };
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    try {
      // Fails if the file exists: if two processes start at once, only one of them creates it.
      writeFileSync(file, JSON.stringify({ pid: process.pid, port }), { flag: 'wx', mode: 0o600 });
      return {
        async release() {
          rmSync(file, { force: true });
          await close();
        },
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        await close();
        throw error;
      }
    }
    const holder = readHolder(file);
    if (holder !== undefined && (await ask(holder.port)) === folder) {
      await close();
      throw new UsageError(
        `Holdfast is already running in this folder (process ${holder.pid}). Stop it with Ctrl-C, or use it: \`holdfast status\`.`,
      );
    }
    rmSync(file, { force: true });
  }
  await close();
  throw new UsageError(`${file} keeps changing. Check whether another \`holdfast start\` is starting in this folder.`);
}

function readHolder(file: string): { readonly pid: number; readonly port: number } | undefined {
  try {
    const { pid, port } = JSON.parse(readFileSync(file, 'utf8')) as { pid: unknown; port: unknown };
    return typeof pid === 'number' && typeof port === 'number' ? { pid, port } : undefined;
  } catch {
    return undefined;
  }
}

/** Returns what the process on the port answers, or undefined if there is no answer in time. */
function ask(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1' });
    socket.setEncoding('utf8');
    socket.setTimeout(answerDeadlineMs, () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > 8_192) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(text === '' ? undefined : text));
  });
}
