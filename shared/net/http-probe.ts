/**
 * Probes once, on a connection of its own, whether a server answers by HTTP: HTTP/1.1, or HTTP/2 without TLS. An app that is starting is
 * probed many times, so a probe costs as little as possible: a socket, one request, and the first line or frame of the answer.
 */
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { onAbort } from '../wait/abort.ts';
import { systemClock } from '../wait/clock.ts';

export interface Probe {
  readonly host: string;
  readonly port: number;
  /**
   * What shows that the server is ready: `connection`: it accepts one · `answer`: it answers by its protocol, whatever the status (by
   * HTTP/2: its SETTINGS frame, RFC 9113 §3.4) · `success`: it answers 2xx or 3xx.
   */
  readonly wants: 'connection' | 'answer' | 'success';
  /** The path of the request; `/` by default. */
  readonly path?: string | undefined;
  /** The host that the request names; the address by default. */
  readonly authority?: string | undefined;
  /** The protocol of the server; HTTP/1.1 by default. */
  readonly protocol?: 'http1' | 'h2c' | undefined;
  /** Bounds a host that drops packets. */
  readonly connectTimeoutMs: number;
  /** Bounds a server that accepts but does not answer, counted from the connection. */
  readonly answerTimeoutMs: number;
}

export type ProbeOutcome =
  | { readonly kind: 'ready' }
  /** An answer with a status that is not wanted. */
  | { readonly kind: 'status'; readonly status: number }
  /** No connection was made. */
  | { readonly kind: 'refused' }
  /** The connection was closed before an answer came. */
  | { readonly kind: 'closed' }
  /** The connection was accepted, and no answer came in time. */
  | { readonly kind: 'silent' }
  /** Bytes came that are no answer by the protocol. */
  | { readonly kind: 'foreign'; readonly speaks: 'HTTP/1' | 'HTTP/2' | 'TLS' | undefined };

/** Interim answers (1xx) may come before the final one; with more bytes than this the probe fails. */
const maxHeadBytes = 16_384;
const statusLine = /^HTTP\/1\.\d ([1-5]\d\d)[ \r\n]/;
/** An answered request is read on for so long, and so far, so that the server need not log that its client has left. */
const lingerMs = 250;
const lingerBytes = 1_048_576;

/** After this time without an answer, the server is worth a word. */
const silenceMs = 1_000;

const settingsFrame = 4;
const emptySettings = Buffer.from([0, 0, 0, settingsFrame, 0, 0, 0, 0, 0]);
/** The connection preface of a client, RFC 9113 §3.4. */
const clientPreface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), emptySettings]);
/** SETTINGS with ACK, then GOAWAY with NO_ERROR: the server need not log that its client broke off. */
const politeEnd = Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/**
 * Resolves when the server is ready, has failed the probe, or the signal has aborted (`refused` or `silent`). Never throws.
 * @param onSilence called while the answer takes long: the connection was accepted a second ago.
 */
export async function probeOnce(probe: Probe, signal: AbortSignal, onSilence?: () => void): Promise<ProbeOutcome> {
  const { promise, resolve } = Promise.withResolvers<ProbeOutcome>();
  if (signal.aborted) return { kind: 'refused' };
  let isConnected = false;
  let stopTimer = systemClock.after(probe.connectTimeoutMs, () => resolve({ kind: 'refused' }));
  using _listener = onAbort(signal, () => resolve({ kind: isConnected ? 'silent' : 'refused' }));
  const report: Report = {
    connected() {
      isConnected = true;
      stopTimer();
      stopTimer = systemClock.after(Math.min(silenceMs, probe.answerTimeoutMs), () => {
        if (probe.answerTimeoutMs > silenceMs) onSilence?.();
        stopTimer = systemClock.after(probe.answerTimeoutMs - silenceMs, () => resolve({ kind: 'silent' }));
      });
    },
    ended: () => resolve({ kind: isConnected ? 'closed' : 'refused' }),
    outcome: resolve,
  };
  const connection = begin(probe, report);
  try {
    const outcome = await promise;
    connection.end(outcome, signal);
    return outcome;
  } finally {
    stopTimer();
  }
}

interface Report {
  connected(): void;
  /** The connection has closed or failed. */
  ended(): void;
  outcome(outcome: ProbeOutcome): void;
}

interface Connection {
  end(outcome: ProbeOutcome, signal: AbortSignal): void;
}

function begin(probe: Probe, report: Report): Connection {
  if (probe.wants === 'connection') return probeConnection(probe, report);
  if (probe.protocol !== 'h2c') return probeHttp1(probe, report);
  return probe.wants === 'answer' ? probeSettings(probe, report) : probeHttp2(probe, report);
}

function dial({ host, port }: Probe, report: Report): Socket {
  return connect({ host, port })
    .on('connect', () => report.connected())
    .on('error', () => report.ended())
    .once('close', () => report.ended());
}

function probeConnection(probe: Probe, report: Report): Connection {
  const socket = dial(probe, report).on('connect', () => report.outcome({ kind: 'ready' }));
  return { end: () => socket.destroy() };
}

function probeHttp1(probe: Probe, report: Report): Connection {
  const socket = dial(probe, report);
  socket.write(
    `GET ${probe.path ?? '/'} HTTP/1.1\r\nHost: ${authorityOf(probe)}\r\nUser-Agent: holdfast-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
  );
  let head = '';
  const read = (chunk: Buffer): void => {
    head += chunk.toString('latin1');
    const status = finalStatus(head);
    if (status === 0 || head.length > maxHeadBytes) report.outcome({ kind: 'foreign', speaks: protocolOf(head) });
    // Only the status counts: the body may never end.
    else if (status !== undefined) report.outcome(judge(probe, status));
  };
  socket.on('data', read);
  return {
    end(outcome, signal) {
      socket.off('data', read);
      if (outcome.kind === 'ready') linger(socket, signal);
      else socket.destroy();
    },
  };
}

/** Reads the rest of a short answer. */
function linger(socket: Socket, signal: AbortSignal): void {
  let left = lingerBytes;
  const listener = onAbort(signal, () => socket.destroy());
  const stopTimer = systemClock.after(lingerMs, () => socket.destroy());
  socket.on('data', ({ length }: Buffer) => {
    left -= length;
    if (left < 0) socket.destroy();
  });
  socket.once('close', () => {
    stopTimer();
    listener[Symbol.dispose]();
  });
}

/** Expects the SETTINGS frame with which every HTTP/2 server begins. */
function probeSettings(probe: Probe, report: Report): Connection {
  const socket = dial(probe, report);
  socket.write(clientPreface);
  let head = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    if (head.length < emptySettings.length) return;
    const speaks = protocolOf(head.toString('latin1', 0, emptySettings.length));
    report.outcome(speaks === 'HTTP/2' ? { kind: 'ready' } : { kind: 'foreign', speaks });
  });
  return {
    end: (outcome) => (outcome.kind === 'ready' ? socket.end(politeEnd, () => socket.destroy()) : socket.destroy()),
  };
}

function probeHttp2(probe: Probe, report: Report): Connection {
  const { host, port, path = '/' } = probe;
  const session = connectHttp2(`http://${addressOf({ host, port })}`, { settings: { enablePush: false } });
  session
    .on('connect', () => report.connected())
    .on('error', () => report.ended())
    .once('close', () => report.ended());
  session
    .request({ ':path': path, ':authority': authorityOf(probe), 'user-agent': 'holdfast-probe' })
    .on('error', () => report.ended())
    .once('close', () => report.ended())
    .once('response', ({ ':status': status = 0 }) => report.outcome(judge(probe, status)));
  return { end: () => session.destroy() };
}

function judge({ wants }: Probe, status: number): ProbeOutcome {
  return wants === 'answer' || (status >= 200 && status < 400) ? { kind: 'ready' } : { kind: 'status', status };
}

function authorityOf(probe: Probe): string {
  return probe.authority ?? addressOf(probe);
}

function addressOf({ host, port }: Pick<Probe, 'host' | 'port'>): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** @returns 0 if it is not HTTP/1, undefined if the final status has not come yet. */
function finalStatus(head: string): number | undefined {
  for (let from = 0; ;) {
    const line = head.slice(from, head.indexOf('\n', from) + 1);
    if (line === '') return head.length - from < 5 || head.startsWith('HTTP/', from) ? undefined : 0;
    const status = Number(statusLine.exec(line)?.[1] ?? 0);
    if (status === 0 || status >= 200) return status;
    const end = head.indexOf('\r\n\r\n', from);
    if (end < 0) return undefined;
    from = end + 4;
  }
}

/** Which protocol begins with these bytes. */
function protocolOf(head: string): 'HTTP/1' | 'HTTP/2' | 'TLS' | undefined {
  if (head.startsWith('HTTP/1.')) return 'HTTP/1';
  const [first, second, length = 0, type, , ...stream] = Array.from(head.slice(0, 9), (letter) => letter.charCodeAt(0));
  // A SETTINGS frame on stream 0, its length a multiple of 6 (RFC 9113 §6.5).
  if (type === settingsFrame && length % 6 === 0 && stream.every((byte) => byte === 0)) return 'HTTP/2';
  // An alert or a handshake record, version 3.x (RFC 8446 §5.1).
  return (first === 0x15 || first === 0x16) && second === 3 ? 'TLS' : undefined;
}
