/** Parsers for the values of command-line options and arguments. */
import { InvalidArgumentError } from 'commander';

export function positiveInteger(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError('It must be at least 1.');
  return value;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** Parses a TCP port to listen on. */
export function portNumber(text: string): number {
  const value = positiveInteger(text);
  if (value > 65_535) throw new InvalidArgumentError('It must be at most 65535.');
  return value;
}

/** Parses the length of a list, up to the most that the agent returns at once. */
export function listLimit(text: string): number {
  const value = positiveInteger(text);
  if (value > 1_000) throw new InvalidArgumentError('It must be at most 1000.');
  return value;
}

export function tailLines(text: string): number {
  const value = wholeNumber(text);
  if (value > 10_000) throw new InvalidArgumentError('It must be at most 10000.');
  return value;
}

/** Parses the value of `--timeout`, up to a day. */
export function timeoutSeconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError('It must be a number of seconds up to 86400.');
  return value;
}
