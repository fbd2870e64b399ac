/** Parsers for the values of command-line options and arguments. */
import { InvalidArgumentError } from 'commander';

function wholeNumber(text: string, least: number, most = Infinity): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  if (value < least) throw new InvalidArgumentError(`It must be at least ${least}.`);
  if (value > most) throw new InvalidArgumentError(`It must be at most ${most}.`);
  return value;
}

export const positiveInteger = (text: string): number => wholeNumber(text, 1);
export const portNumber = (text: string): number => wholeNumber(text, 1, 65_535);
/** Parses the length of a list, up to the most that the agent returns at once. */
export const listLimit = (text: string): number => wholeNumber(text, 1, 1_000);
export const tailLines = (text: string): number => wholeNumber(text, 0, 10_000);

/** Parses the value of `--timeout`, up to a day. */
export function timeoutSeconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError('It must be a number of seconds up to 86400.');
  return value;
}

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Parses a time, or how long before now: `2026-12-01`, `24h`. @returns ISO 8601. */
export const timeAgo = (text: string): string => moment(text, -1);
/** Parses a time, or how long from now: `2027-01-01`, `90d`. @returns ISO 8601. */
export const timeFromNow = (text: string): string => moment(text, 1);

function moment(text: string, direction: -1 | 1): string {
  const [, count, unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const ms = count === undefined ? Date.parse(text) : Date.now() + direction * Number(count) * (unitMs[unit] ?? 0);
  if (Number.isNaN(ms))
    throw new InvalidArgumentError('It must be a time such as 2026-12-01T09:00:00Z, or 30m, 24h, 7d.');
  return new Date(ms).toISOString();
}
