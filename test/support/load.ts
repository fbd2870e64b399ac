/** An open-loop load: calls begin at a fixed rate whatever becomes of the ones before, and each is kept with its times. */
import { Agent, request } from 'undici';

export interface CallRecord {
  /** Milliseconds on `performance.now`. */
  readonly startMs: number;
  readonly endMs: number;
  /** 0 when there was no answer: see `error`. */
  readonly status: number;
  readonly body: string;
  /** The router says so in Server-Timing. */
  readonly held: boolean;
  readonly retryAfter: string | undefined;
  readonly error: string | undefined;
}

export interface Load {
  /** No more calls begin; resolves with every call when the last has ended. May be called again. */
  stop(): Promise<readonly CallRecord[]>;
  readonly records: readonly CallRecord[];
}

interface LoadOptions {
  readonly urls: readonly string[];
  readonly callsPerSecond: number;
  /** Of one call; a held one waits as long as it takes, up to this. */
  readonly timeoutMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** By TLS: who is trusted, and which host is asked for. */
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

/** `count` calls begun at once, each on a connection of its own. */
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

/** How many calls ended in which way: `200`, `502 app_crashed`, `ECONNRESET`. */
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
