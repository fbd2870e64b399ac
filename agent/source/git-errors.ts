/** Maps the standard error of git to an AppError. The patterns match messages of git, ssh and curl in the C locale. */
import type { ErrorCode } from '../../shared/error-codes.ts';
import { AppError } from '../../shared/errors.ts';

const maxMessageChars = 600;

const rules: readonly (readonly [ErrorCode, RegExp])[] = [
  [
    'source_denied',
    /Authentication failed|could not read (Username|Password)|Permission denied|Host key verification failed|REMOTE HOST IDENTIFICATION|No ED25519 host key|access denied|returned error: 40[137]|HTTP Basic: Access denied|dubious ownership|terminal prompts disabled/i,
  ],
  ['source_denied', /certificate|SSL|TLS/],
  [
    'source_not_found',
    /repository .*not found|not found in upstream|does not appear to be a git repository|returned error: 404|(could not|couldn't) find remote ref|not our ref|unadvertised object|no such remote ref|project you were looking for could not be found/i,
  ],
  // git-program.ts bounds the memory.
  ['source_invalid', /Out of memory|malloc failed|mmap failed/],
  ['source_invalid', /transport '.*' not allowed|protocol .* is not supported|Unable to find remote helper/i],
];

/**
 * @param what was to be done, as in "could not …".
 * @param otherwise the code if no pattern matches.
 */
export function gitError(
  what: string,
  stderr: string,
  secrets: readonly string[],
  otherwise: ErrorCode = 'source_unavailable',
): AppError {
  const [code] = rules.find(([, pattern]) => pattern.test(stderr)) ?? [otherwise];
  return new AppError(code, `could not ${what}: ${gist(stderr, secrets)}`, { phase: 'source' });
}

/** Whether the server serves only commits that its refs point to. */
export function refusesCommits(stderr: string): boolean {
  return /not our ref|unadvertised object|does not allow request/i.test(stderr);
}

/** The informative lines, without secrets. */
function gist(stderr: string, secrets: readonly string[]): string {
  // ssh prints a screen of warnings before this line.
  if (stderr.includes('Host key verification failed'))
    return 'Host key verification failed: the known_hosts_file of the git_auth does not have the key of this host';
  let text = stderr;
  for (const secret of secrets) {
    if (secret.length < 4) continue;
    for (const form of [secret, encodeURIComponent(secret)]) text = text.replaceAll(form, '***');
  }
  const lines = text
    .replace(/\/\/[^/\s@]*@/g, '//')
    .split(/[\r\n]+/)
    .map((line) => line.replace(/\p{Cc}/gu, ' ').trim())
    .filter(
      (line) =>
        line !== '' && !/^(hint:|@@@|warning: redirecting|and the repository exists|Please make sure)/i.test(line),
    );
  const message = [...new Set(lines)].join('; ');
  if (message === '') return 'git failed without a message';
  return message.length > maxMessageChars ? `${message.slice(0, maxMessageChars)}…` : message;
}
