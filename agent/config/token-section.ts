/** `[[token]]`: who may call the RPC, by a token whose value, file or hash is given. */
import { z } from 'zod';
import type { Report } from '../../shared/config/load.ts';
import { readTokenFile, type OpenSource, tokenValue, tokenDigest } from '../../shared/config/sections.ts';
import { type Scope, scope } from '../../shared/protocol/methods.ts';
import { optionalText } from './keys.ts';

const sha256Hex = z
  .string()
  .transform((value) => value.toLowerCase())
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex, as `holdfast tokens new` prints it'));

export const token = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,63}$/, 'must be 1 to 63 of A-Z, a-z, 0-9 and . _ -')
      .describe('Name of the token. Events and the audit name it as the actor.'),
    scopes: z
      .array(scope)
      .min(1)
      .max(4)
      .describe('What the token allows: `router`, `read`, `deploy` (includes `read`), `admin` (everything).'),
    value: tokenValue.optional().describe('The token itself; prefer value_sha256 or value_file.'),
    value_sha256: z
      .array(sha256Hex)
      .min(1)
      .max(2)
      .optional()
      .describe(
        'SHA-256 of the token in hex; two while a new value replaces an old one. `holdfast tokens new` makes both.',
      ),
    value_file: optionalText(
      'File that contains the token, or two of them, a line each, while one replaces the other. It is read again when it changes.',
    ),
    expires: z.iso
      .datetime({ offset: true })
      .optional()
      .describe('Time from which the token is refused, such as `"2027-01-01T00:00:00Z"`. Default: never.'),
  })
  .refine((one) => [one.value, one.value_sha256, one.value_file].filter((given) => given !== undefined).length === 1, {
    message: 'exactly one of value, value_sha256 and value_file must be set',
    path: ['value_file'],
  });

/** A token with the digests of its values. */
export interface AgentToken {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** SHA-256 of each value, in hex. */
  readonly digests: readonly string[];
  readonly expires: string | undefined;
  /** The file that the values come from, an absolute path. */
  readonly file: string | undefined;
}

export function readTokens(
  tokens: readonly z.output<typeof token>[],
  source: OpenSource,
  report: Report,
): AgentToken[] {
  const firsts = new Map<string, number>();
  return tokens.map(({ name, scopes, value, value_file, value_sha256, expires }, index) => {
    const key = value_file !== undefined ? 'value_file' : value_sha256 === undefined ? 'value' : 'value_sha256';
    const fail = (message: string): void => report(['token', index, key], message);
    const values =
      value_file === undefined ? (value === undefined ? [] : [value]) : readTokenFile(source, value_file, fail);
    const digests = value_sha256 ?? values.map(tokenDigest);
    for (const digest of digests) {
      const first = firsts.get(digest);
      if (first !== undefined) fail(`is the same token as token[${first}]; each token needs its own`);
      firsts.set(digest, index);
    }
    const file = value_file === undefined ? undefined : source.resolvePath(value_file);
    return { name, scopes, digests, expires, file };
  });
}
