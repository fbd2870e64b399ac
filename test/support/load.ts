/** An open-loop load: calls start at a fixed rate regardless of earlier ones, and each is recorded with its times. */
import { Agent, request } from 'undici';

export interface CallRecord {
  /** Milliseconds on `performance.now`. */
  readonly startMs: number;
  readonly endMs: number;
  /** 0 when there was no answer: see `error`. */
  readonly status: number;
  readonly body: string;
  /** Whether the router held it, according to Server-Timing. */
  readonly held: boolean;
  readonly retryAfter: string | undefined;
  readonly error: string | undefined;
}

export interface Load {
  /** Starts no further calls; resolves with all calls when the last has ended. May be called again. */
  stop(): Promise<readonly CallRecord[]>;
  readonly records: readonly CallRecord[];
}

interface LoadOptions {
  readonly urls: readonly string[];
  readonly callsPerSecond: number;
  /** Timeout of one call, including the time it is held; 120,000 by default. */
  readonly timeoutMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Calls use TLS: the trusted authorities and the server name to ask for. */
  readonly tls?: { readonly ca: readonly string[]; readonly servername: string };
}

export function startLoad({ urls, callsPerSecond, timeoutMs = 120_000, headers = {}, tls }: LoadOptions): Load {
  const dispatcher = new Agent({
    connections: 512,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    ...(tls && { connect: { ca: [...tls.ca], servername: tls.servername } }),
  });
  const beganMs = performance.now();
  const records: CallRecord[] = [];
  const running = new Set<Promise<void>>();
  let begun = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - beganMs) / 1_000) * callsPerSecond;
    for (; begun < due; begun += 1) {
      const call = callOnce(urls[begun % urls.length] ?? '', dispatcher, headers).then((record) => {
        records.push(record);
        running.delete(call);
      });
      running.add(call);
    }
  }, 2);
  let stopped: Promise<readonly CallRecord[]> | undefined;
  async function stop(): Promise<readonly CallRecord[]> {
    clearInterval(timer);
    await Promise.all(running);
    await dispatcher.close();
    return records;
  }
  return { records, stop: () => (stopped ??= stop()) };
}

/** Starts `count` calls at once, each on its own connection. */
export async function callAtOnce(url: string, count: number, timeoutMs = 120_000): Promise<readonly CallRecord[]> {
  const dispatcher = new Agent({ connections: count, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  const records = await Promise.all(Array.from({ length: count }, () => callOnce(url, dispatcher, {})));
  await dispatcher.close();
  return records;
}

async function callOnce(
  url: string,
  dispatcher: Agent,
  headers: Readonly<Record<string, string>>,
): Promise<CallRecord> {
  const startMs = performance.now();
  try {
    const { statusCode, headers: answered, body } = await request(url, { dispatcher, headers });
    const text = await body.text();
    const held = String(answered['server-timing'] ?? '').startsWith('hold;');
    const retryAfter = answered['retry-after']?.toString();
    return { startMs, endMs: performance.now(), status: statusCode, body: text, held, retryAfter, error: undefined };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    const none = { status: 0, body: '', held: false, retryAfter: undefined };
    return { ...none, startMs, endMs: performance.now(), error: code ?? message };
  }
}

/** Counts calls by outcome: `200`, `502 app_crashed`, `ECONNRESET`. */
export function outcomes(records: readonly CallRecord[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, body, error } of records) {
    const code = status >= 400 ? / ?"code":"(\w+)"/.exec(body)?.[1] : undefined;
    const key = error ?? (code === undefined ? String(status) : `${status} ${code}`);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** The `version` that the test app answered with. */
export function versionOf(record: CallRecord): string | undefined {
  return /"version":"([^"]*)"/.exec(record.body)?.[1];
}
