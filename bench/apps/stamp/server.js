/**
 * The app of bench/hold.ts: answers with its port and the time at which that was open, nanoseconds on the machine's monotonic clock.
 * With GATE it opens its port only when the file of that name is there.
 */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';

const { GATE, PORT } = process.env;
let openedNs = 0n;

const server = createServer((_request, response) =>
  response.end(JSON.stringify({ port: PORT, openedNs: String(openedNs) })),
);

function open() {
  // Without a host, Node opens the port within this call.
  server.listen({ port: Number(PORT), backlog: 4_096 });
  openedNs = process.hrtime.bigint();
}

function openAtGate() {
  if (existsSync(GATE)) open();
  else setTimeout(openAtGate, 2);
}

if (GATE === undefined) open();
else openAtGate();

process.on('SIGTERM', () => process.exit(0));
