/** Where an app listens that should listen on its PORT: judged by what it does elsewhere, or by what it says in its log. */

export interface Listener {
  /** The address as the app has it: `127.0.0.1`, `0.0.0.0`, `::`, `localhost`. */
  readonly host: string;
  readonly port: number;
}

/**
 * Ports that belong to debuggers, metrics and the like. An app that has opened one of them, and not yet its PORT, may merely be slow.
 */
function isSidePort(port: number): boolean {
  return port === 9_229 || port === 9_090 || port === 9_091 || (port >= 9_100 && port <= 9_999) || port === 6_060;
}

export function mayServe({ port }: Listener): boolean {
  return !isSidePort(port);
}

export function isLoopback({ host }: Listener): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** @param port as the app knows it: `PORT 8080`. @returns what is wrong and what to do, as a sentence. */
export function wordsOfListener(listener: Listener, port: number): string {
  const { host } = listener;
  const where = `${host.includes(':') ? `[${host}]` : host}:${listener.port}`;
  const other =
    listener.port === port ? '' : `, or set \`port = ${listener.port}\`${isLoopback(listener) ? ' besides' : ''}`;
  const not = listener.port === port ? 'which nothing outside of it can reach' : `not on PORT ${port}`;
  return `the app listens on ${where}, ${not}: listen on 0.0.0.0 and the port in PORT${other}`;
}

const address = String.raw`(\[[0-9a-f:]*\]|localhost|\d{1,3}(?:\.\d{1,3}){3}|\*|0|::)?`;
const told = [
  // listening on 127.0.0.1:3000 · Running on http://localhost:5000 · Listening at: http://[::1]:8000 (7)
  new RegExp(
    String.raw`\b(?:listen(?:ing|s)?|running|serving|served|started|ready|available|bound|server|local)\b[^\n]{0,60}?(?:(?:https?|tcp):\/\/|\s|^)${address}:(\d{2,5})\b`,
    'i',
  ),
  // Listening on port 3000
  new RegExp(
    String.raw`\b(?:listen(?:ing|s)?|running|serving|started|ready)\b[^\n]{0,40}?()\bport\b[ :=]{1,2}(\d{2,5})\b`,
    'i',
  ),
];
/** What an app says of others, not of itself. */
const ofOthers =
  /\b(connect(ed|ing)? to|debugger|inspector|metrics|redis|postgres|mysql|mongo|upstream|proxy(ing)? to|fail(ed)?|error)\b/i;
const colours = new RegExp(String.raw`${String.fromCharCode(27)}\[[0-9;]*m`, 'g');
const maxLineLength = 1_000;

/** What a line of the log says about where its app listens; undefined for most lines. A missing host is any host. */
export function listenerInLine(line: string): Listener | undefined {
  const text = line.slice(0, maxLineLength).replace(colours, '');
  if (ofOthers.test(text)) return undefined;
  for (const pattern of told) {
    const [, host = '', digits] = pattern.exec(text) ?? [];
    const port = Number(digits ?? 0);
    if (port < 1 || port > 65_535) continue;
    const plain = host.replace(/^\[|\]$/g, '');
    return { host: plain === '' || plain === '*' || plain === '0' ? '0.0.0.0' : plain.toLowerCase(), port };
  }
  return undefined;
}
