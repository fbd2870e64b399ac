/**
 * The app that tests deploy, on every platform; no dependencies. Environment:
 *   PORT      where it listens, by default 8080.
 *   MODE      ok (default) · crash: exits 1 before it listens · never-ready: never listens · slow: listens after DELAY_MS ·
 *             unhealthy: listens, `/healthz` answers 503 · mute: listens and never answers · garbage: answers, but not by HTTP ·
 *             status: answers STATUS everywhere · slow-answer: listens at once, answers from DELAY_MS on.
 *   LISTEN    host:port where it listens instead, whatever PORT says.
 *   SIDE      port of every address where it answers from the beginning, besides; a line a second tells that it is still starting.
 *   HOSTS     names, with commas between them: a call by any other Host gets 400.
 *   PROTOCOL  http1 (default) · h2c: HTTP/2 without TLS.
 *   VERSION   what it says it is.
 *   DELAY_MS  for slow and slow-answer.
 *   LEDGER    file that gets a line for each call or upgrade that has a field X-Call-Id: its value.
 *   DATA_DIR  folder of `/data`; without it the folder of the volume named `data`.
 *   ABRUPT    1: SIGTERM ends it at once, with whatever is in flight.
 * SIGTERM: accepts no more, closes WebSockets with 1001, ends what is in flight, exits 0.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createTcpServer } from 'node:net';
import { hostname } from 'node:os';

const { env } = process;
const mode = env.MODE ?? 'ok';
const port = Number(env.PORT ?? 8080);
const hosts = env.HOSTS?.split(',');
const isSpeaking = new Promise((resolve) =>
  setTimeout(resolve, mode === 'slow-answer' ? Number(env.DELAY_MS ?? 1_000) : 0),
);
let asked = 0;

const routes = {
  '/': (request, response, url) =>
    json(response, {
      version: env.VERSION ?? null,
      pid: process.pid,
      machine: hostname(),
      method: request.method,
      path: url.pathname,
      url: request.url,
      host: request.headers.host ?? null,
      headers: request.headers,
    }),
  '/healthz': (_request, response) => json(response, { mode }, mode === 'unhealthy' ? 503 : 200),
  '/echo': async (request, response) => {
    let body = '';
    request.setEncoding('utf8');
    for await (const chunk of request) body += chunk;
    json(response, { version: env.VERSION ?? null, method: request.method, headers: request.headers, body });
  },
  /** How many requests came before this one. */
  '/asked': (_request, response) => json(response, { asked: asked - 1 }),
  '/env': (_request, response, url) => json(response, { value: env[url.searchParams.get('name') ?? ''] ?? null }),
  '/sleep': (_request, response, url) => {
    const ms = Number(url.searchParams.get('ms') ?? 0);
    console.log(`sleeping ${ms}`);
    setTimeout(() => json(response, { version: env.VERSION ?? null, slept: ms }), ms);
  },
  /** Uses the processor for `ms`, then answers as `/` does. */
  '/burn': (request, response, url) => {
    const endMs = performance.now() + Number(url.searchParams.get('ms') ?? 5);
    while (performance.now() < endMs);
    routes['/'](request, response, url);
  },
  /** `count` server-sent events, `ms` apart. */
  '/stream': (request, response, url) => {
    const count = Number(url.searchParams.get('count') ?? 5);
    let sent = 0;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const timer = setInterval(
      () => {
        response.write(`data: ${sent}\n\n`);
        sent += 1;
        if (sent >= count) response.end();
      },
      Number(url.searchParams.get('ms') ?? 50),
    );
    response.on('close', () => clearInterval(timer));
    request.resume();
  },
  /** Writes a line to standard output, or with `to=stderr` to standard error. */
  '/log': (_request, response, url) => {
    const line = `${url.searchParams.get('line') ?? ''}\n`;
    (url.searchParams.get('to') === 'stderr' ? process.stderr : process.stdout).write(line);
    json(response, { logged: line.length });
  },
  /** Takes the whole app down with the exit code `code`, by default 1. */
  '/exit': (_request, response, url) => {
    response.on('finish', () => process.exit(Number(url.searchParams.get('code') ?? 1)));
    json(response, { exiting: true }, 200);
  },
  /** Appends `line` to a file on the volume where given; answers its lines. */
  '/data': (_request, response, url) => {
    const file = `${env.DATA_DIR ?? env.HOLDFAST_VOLUME_DATA}/lines`;
    const line = url.searchParams.get('line');
    if (line !== null) appendFileSync(file, `${line}\n`);
    json(response, { lines: readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').filter(Boolean) });
  },
};

function json(response, value, status = 200) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(value)}\n`);
}

function enter(request) {
  const id = request.headers['x-call-id'];
  if (env.LEDGER !== undefined && id !== undefined) appendFileSync(env.LEDGER, `${id}\n`);
}

async function handle(request, response) {
  asked += 1;
  enter(request);
  const url = new URL(request.url, 'http://app.example');
  await isSpeaking;
  if (mode === 'status') return json(response, { mode }, Number(env.STATUS ?? 404));
  const host = request.authority ?? request.headers.host;
  if (hosts !== undefined && !hosts.includes(host)) return json(response, { error: `unknown host ${host}` }, 400);
  return (routes[url.pathname] ?? routes['/'])(request, response, url);
}

function answer(request, response) {
  handle(request, response).catch((error) => {
    if (response.headersSent) response.destroy();
    else json(response, { error: String(error) }, 500);
  });
}

function createApp() {
  if (mode === 'mute') return createTcpServer((socket) => socket.on('error', () => socket.destroy()).resume());
  if (mode === 'garbage')
    return createTcpServer((socket) => socket.on('error', () => socket.destroy()).end('220 app.example ESMTP\r\n'));
  return env.PROTOCOL === 'h2c' ? createHttp2Server(answer) : createServer(answer);
}

const server = createApp();

const upgraded = new Set();

/** `/ws`: RFC 6455 §5, echoes unfragmented messages of less than 64 KiB; the first message tells the version. */
server.on('upgrade', (request, socket) => {
  enter(request);
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.write(frame(1, Buffer.from(`version ${env.VERSION ?? ''}`)));
  upgraded.add(socket);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => upgraded.delete(socket));
  let pending = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (let message = take(pending); message !== undefined; message = take(pending)) {
      pending = pending.subarray(message.size);
      if (message.opcode === 8) socket.end(frame(8, message.payload));
      else if (message.opcode === 9) socket.write(frame(10, message.payload));
      else if (message.opcode !== 10) socket.write(frame(message.opcode, message.payload));
    }
  });
});

function frame(opcode, payload) {
  const head =
    payload.length < 126
      ? [0x80 | opcode, payload.length]
      : [0x80 | opcode, 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from(head), payload]);
}

/** The first whole masked frame of `bytes`, if there is one. */
function take(bytes) {
  if (bytes.length < 6) return undefined;
  const short = bytes[1] & 127;
  const maskAt = short === 126 ? 4 : 2;
  const length = short === 126 ? bytes.readUInt16BE(2) : short;
  const size = maskAt + 4 + length;
  if (bytes.length < size) return undefined;
  const mask = bytes.subarray(maskAt, maskAt + 4);
  const payload = Buffer.from(bytes.subarray(maskAt + 4, size)).map((byte, index) => byte ^ mask[index % 4]);
  return { opcode: bytes[0] & 15, payload, size };
}

process.on('SIGTERM', () => {
  if (env.ABRUPT === '1') process.exit(0);
  console.log('stopping');
  for (const socket of upgraded) socket.end(frame(8, Buffer.from([1001 >> 8, 1001 & 255])));
  server.close(() => process.exit(0));
  // Kept-alive connections that become idle later would keep the process.
  setInterval(() => server.closeIdleConnections?.(), 20);
});

if (env.SIDE !== undefined) {
  createServer((_request, response) => response.end('metrics')).listen(Number(env.SIDE));
  const timer = setInterval(() => console.log('loading'), 1_000);
  setTimeout(() => clearInterval(timer), Number(env.DELAY_MS ?? 1_000));
}
console.log(`starting version ${env.VERSION ?? ''} mode ${mode}`);
if (mode === 'crash') {
  console.error('cannot start: MODE is crash');
  process.exit(1);
} else if (mode === 'never-ready') {
  setInterval(() => console.log('still not ready'), 1_000);
} else {
  setTimeout(
    () => {
      const [, host, other] = /^(.*):(\d+)$/.exec(env.LISTEN ?? '') ?? [];
      server.listen(other ?? port, host, () => console.log(`listening on ${env.LISTEN ?? port}`));
    },
    mode === 'slow' ? Number(env.DELAY_MS ?? 1_000) : 0,
  );
}
