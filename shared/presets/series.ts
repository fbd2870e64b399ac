/** Versions and ranges of versions, as the manifests of several languages write them. */

/** How `~1.2` is read: as `>=1.2 <1.3` (Poetry), or as `>=1.2 <2` (Composer). */
export type Tilde = 'minor' | 'major';

interface Bound {
  readonly operator: string;
  /** Numbers; a wildcard ends them. */
  readonly numbers: readonly number[];
}

const bound = /(>=|<=|===?|!=|~=|~>|<|>|\^|~|=)?\s*v?(\d+(?:\.\d+)*)((?:\.[x*])*)[\w.+-]*/gi;

/**
 * Returns whether some release of the series `candidate` (`3.13`, `21`) is in the range. Several bounds in a row must all hold,
 * `||` separates alternatives. A text without any number is no range and allows everything.
 */
export function allows(range: string, candidate: string, tilde: Tilde = 'minor'): boolean {
  const series = candidate.split('.').map(Number);
  return range
    .split(/\|\|?/)
    .some((part) => [...part.matchAll(bound)].every((match) => holds(boundOf(match), series, tilde)));
}

/** Returns the preferred series if the range allows it, otherwise the newest that it allows. */
export function pick(
  range: string,
  known: readonly string[],
  preferred: string,
  tilde: Tilde = 'minor',
): string | undefined {
  if (allows(range, preferred, tilde)) return preferred;
  return known.toSorted(newestFirst).find((one) => allows(range, one, tilde));
}

/** Returns the first `count` numbers of a version in a text: `3.12` of `python-3.12.4`. */
export function seriesOf(text: string, count: number): string | undefined {
  const numbers = /(\d+(?:\.\d+)*)/.exec(text)?.[1]?.split('.').slice(0, count);
  return numbers?.join('.');
}

export function newestFirst(a: string, b: string): number {
  return compare(b.split('.').map(Number), a.split('.').map(Number));
}

function boundOf([, operator = '', numbers = '', wildcard = '']: RegExpMatchArray): Bound {
  const isExact = operator === '' || operator === '=' || operator === '==' || operator === '===';
  return {
    operator: isExact || wildcard !== '' ? (operator === '!=' ? '!=' : '==') : operator,
    numbers: numbers.split('.').map(Number),
  };
}

function holds({ operator, numbers }: Bound, series: readonly number[], tilde: Tilde): boolean {
  const common = compare(series, numbers.slice(0, series.length));
  switch (operator) {
    case '==':
      return compare(series.slice(0, numbers.length), numbers.slice(0, series.length)) === 0;
    case '!=':
      // A release that is left out leaves others of its series.
      return numbers.length > series.length || common !== 0;
    case '>=':
    case '>':
      return common >= 0;
    case '<=':
      return common <= 0;
    case '<':
      return common < 0 || (common === 0 && numbers.slice(series.length).some((one) => one > 0));
    case '^':
      return common >= 0 && series[0] === numbers[0];
    case '~':
      return (
        common >= 0 &&
        sameUpTo(tilde === 'minor' ? Math.min(2, numbers.length) : Math.max(1, numbers.length - 1), series, numbers)
      );
    default:
      return common >= 0 && sameUpTo(Math.max(1, numbers.length - 1), series, numbers);
  }
}

function sameUpTo(count: number, a: readonly number[], b: readonly number[]): boolean {
  return compare(a.slice(0, count), b.slice(0, Math.min(count, a.length))) === 0;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
