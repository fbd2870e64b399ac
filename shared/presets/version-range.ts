/** Ranges of versions as package managers write them: `^20.1`, `>=18 <23`, `20.x || 22.x`, `~=3.11`, `==3.12.*`. */

/** From `low` to below `high`. */
interface Span {
  readonly low: Version;
  readonly high: Version;
}
type Version = readonly [number, number, number];

const lowest: Version = [0, 0, 0];
const highest: Version = [Infinity, 0, 0];
const number = String.raw`[v=]?\s*(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?[\w.+-]*`;
const comparator = new RegExp(String.raw`(\^|~=|~>|~|>=|<=|===?|!=|>|<)?\s*${number}`, 'g');

/** Whether some version of a line (`22`, `3.12`) is in the range; undefined if the text is not a range. */
export function admits(range: string, line: string): boolean | undefined {
  const wanted = range.split('||').map((part) => spanOf(part.trim()));
  if (wanted.some((span) => span === undefined)) return undefined;
  const own = prefixSpan(line.split('.').map(Number));
  return wanted.some((span) => span !== undefined && before(span.low, own.high) && before(own.low, span.high));
}

function spanOf(text: string): Span | undefined {
  if (text === '' || text === '*') return { low: lowest, high: highest };
  const hyphen = /^(\S+)\s+-\s+(\S+)$/.exec(text);
  if (hyphen !== null) return spanOf(`>=${hyphen[1]} <=${hyphen[2]}`);
  if (text.replaceAll(comparator, '').replaceAll(/[\s,]/g, '') !== '') return undefined;
  let span: Span = { low: lowest, high: highest };
  for (const [, operator = '', ...parts] of text.matchAll(comparator)) {
    const next = comparatorSpan(operator, parts.filter((part) => /^\d+$/.test(part ?? '')).map(Number));
    span = {
      low: before(span.low, next.low) ? next.low : span.low,
      high: before(next.high, span.high) ? next.high : span.high,
    };
  }
  return span;
}

function comparatorSpan(operator: string, parts: readonly number[]): Span {
  const exact = prefixSpan(parts);
  switch (operator) {
    case '>=':
      return { low: exact.low, high: highest };
    case '>':
      return { low: parts.length < 3 ? exact.high : exact.low, high: highest };
    case '<':
      return { low: lowest, high: exact.low };
    case '<=':
      return { low: lowest, high: exact.high };
    case '!=':
      return { low: lowest, high: highest };
    case '^':
      return { low: exact.low, high: prefixSpan(parts.slice(0, significant(parts))).high };
    case '~':
      return { low: exact.low, high: prefixSpan(parts.slice(0, 2)).high };
    case '~=':
    case '~>':
      return { low: exact.low, high: prefixSpan(parts.slice(0, Math.max(1, parts.length - 1))).high };
    default:
      return exact;
  }
}

/** How many parts `^` keeps: up to the first that is not 0. */
function significant(parts: readonly number[]): number {
  const first = parts.findIndex((part) => part > 0);
  return first < 0 ? parts.length : first + 1;
}

function prefixSpan(parts: readonly number[]): Span {
  const [major = 0, minor = 0, patch = 0] = parts;
  const low: Version = [major, minor, patch];
  if (parts.length === 0) return { low: lowest, high: highest };
  if (parts.length === 1) return { low, high: [major + 1, 0, 0] };
  return { low, high: parts.length === 2 ? [major, minor + 1, 0] : [major, minor, patch + 1] };
}

function before(a: Version, b: Version): boolean {
  for (const at of [0, 1, 2] as const) if (a[at] !== b[at]) return a[at] < b[at];
  return false;
}
