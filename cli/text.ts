/** Formats results as text. */
import { stripVTControlCharacters } from 'node:util';
import type { AppView, Failure } from '../shared/protocol/views.ts';

/** Formats a table. Missing cells at the end of a row are left empty. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows.map((row) => row.map(plain))];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      header
        .map((_, column) => (row[column] ?? '').padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Formats `key  value` lines, with the values aligned. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([key]) => key.length));
  return entries.map(([key, value]) => `${key.padEnd(width)}  ${plain(value)}`.trimEnd()).join('\n');
}

/** Formats the cause of a failure and the last log lines of the app, indented. */
export function failureText({ code, phase, message, logs }: Failure, maxLines = 20): string {
  const shown = logs.slice(-maxLines).map((line) => `    | ${plain(line)}`);
  return [`  failed in ${phase}: ${code}: ${plain(message)}`, ...shown].join('\n');
}

/** Returns text such as `version 3: app_crashed`, or an empty string if nothing failed. */
export function problemText({ failure, failedVersion }: Pick<AppView, 'failure' | 'failedVersion'>): string {
  if (failure === null) return '';
  return failedVersion === null ? failure.code : `version ${failedVersion}: ${failure.code}`;
}

/** Replaces control characters by spaces, so that an app's output cannot control the terminal. */
export function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are the characters to remove
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

/** A line of an app for this output: it must not command the terminal of whoever reads it; a file or a pipe gets it as it is. */
export function logLine(line: string, output: { readonly isTTY?: boolean | undefined }): string {
  return output.isTTY === true ? plain(stripVTControlCharacters(line)) : line;
}

export function seconds(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? '' : `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

/** Shortens a tag to what is enough to tell images apart. */
export function shortTag(tag: string): string {
  return tag.slice(0, 12);
}

/** Returns text such as `12.3 MiB`. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
