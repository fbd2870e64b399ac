import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { TLSSocket } from 'node:tls';
import { silentLog } from '../../shared/log.ts';
import { certificates } from '../../test/support/certificates.ts';
import { openDatabase } from './database.ts';

/** An ErrorResponse with SQLSTATE 28P01, as a server says it that has read the start-up message. */
const refusedLogin = Buffer.from('E\0\0\0\x1fSFATAL\0C28P01\0Mrefused\0\0\0', 'latin1');

/** Speaks as much of Postgres as a login needs: TLS where it is asked for, then no. */
async function startServer(t: TestContext): Promise<{ readonly port: number; readonly caFile: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-database-'));
  t.after(() => rm(folder, { recursive: true }));
  const { cert, key } = await certificates(folder, 'db.example');
  const refuse = (socket: NodeJS.WritableStream & NodeJS.ReadableStream): void => {
    refusedLogin.writeInt32BE(refusedLogin.length - 1, 1);
    socket.once('data', () => socket.end(refusedLogin));
    socket.on('error', () => undefined);
  };
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write('S');
      refuse(new TLSSocket(socket, { isServer: true, cert, key }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, caFile: join(folder, 'ca.crt') };
}

/** @returns the code of the error: 28P01 where TLS was well. */
async function codeOf(connectionString: string): Promise<string> {
  const db = openDatabase({ connectionString, maxConnections: 1, log: silentLog });
  try {
    await db.query('select 1');
    return 'none';
  } catch (error) {
    const { code, sqlstate, message } = error as { code?: string; sqlstate?: string; message: string };
    return code === 'store_unavailable' ? message : (sqlstate ?? message);
  } finally {
    await db.close();
  }
}

test('sslmode means what it means to psql: require encrypts, verify-full looks at authority and name', async (t) => {
  const { port, caFile } = await startServer(t);
  const url = (query: string): string => `postgres://me:p%23%2F@127.0.0.1:${port}/x?${query}`;
  assert.equal(await codeOf(url('sslmode=require')), '28P01');
  assert.equal(await codeOf(url('sslmode=prefer')), '28P01');
  assert.equal(await codeOf(url(`sslmode=require&sslrootcert=${caFile}`)), '28P01', 'signed by that authority');
  assert.match(await codeOf(url('sslmode=verify-full')), /Postgres cannot be reached: .*certificate/);
  // The certificate is for another name.
  assert.match(
    await codeOf(url(`sslmode=verify-full&sslrootcert=${caFile}`)),
    /Postgres cannot be reached: .*altnames/,
  );
});

test('sslmode=require with another authority than that of the server is refused', async (t) => {
  const { port } = await startServer(t);
  const { caFile } = await startServer(t);
  const url = `postgres://me@127.0.0.1:${port}/x?sslmode=require&sslrootcert=${caFile}`;
  assert.match(await codeOf(url), /Postgres cannot be reached: .*certificate/);
});
