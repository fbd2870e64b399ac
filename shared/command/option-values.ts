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
