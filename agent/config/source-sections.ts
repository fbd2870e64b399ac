/** `[source]` and `[[git_auth]]`: where sources come from. */
import { z } from 'zod';
import { decimal, integer } from '../../shared/number-keys.ts';
import { optionalText, text, valueOrFile } from './keys.ts';

export const source = z
  .strictObject({
    max_bytes: integer([1_024, 16 * 1024 ** 3], 512 * 1024 ** 2).describe('Largest size of a source, unpacked, bytes.'),
    max_files: integer([1, 1_000_000], 50_000).describe('Largest number of files in a source.'),
    fetch_timeout_secs: decimal([1, 3_600], 120).describe('Timeout of a fetch from a git server, seconds.'),
    allow_file_urls: z.boolean().default(false).describe("Allow git sources by file://, from the agent's own disk."),
    sync_interval_secs: decimal([5, 86_400], 60).describe(
      'How often the sources of apps with `auto_sync` are looked up, seconds.',
    ),
    watch_folders: z
      .boolean()
      .default(false)
      .describe(
        'Watch the folders that are sources, and make a new version when their files change (process platform only; `npm start` sets it).',
      ),
    webhook_secret: z
      .string()
      .min(16)
      .max(512)
      .optional()
      .describe('Secret that signs webhooks (POST /hooks/git); prefer webhook_secret_file.'),
    webhook_secret_file: optionalText('File that contains the secret that signs webhooks.'),
  })
  .refine(...valueOrFile('webhook_secret'))
  .prefault({})
  .describe('Sources of apps: git repositories and uploads.');

export const gitAuth = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,63}$/, 'must be 1 to 63 of A-Z, a-z, 0-9 and . _ -')
      .describe('Name by which an app refers to these credentials in `git_auth`.'),
    hosts: z
      .array(z.string().regex(/^[a-z0-9.-]+(:\d{1,5})?$/, 'must be host or host:port, lower case'))
      .min(1)
      .max(64)
      .describe('Hosts that these credentials may be sent to.'),
    username: text(255).optional().describe('User name for https. Many servers accept any user name with a token.'),
    password: optionalText('Password or token for https; prefer password_file.'),
    password_file: optionalText('File that contains the password or token for https.'),
    ssh_key_file: optionalText('File of the private key for ssh, without a passphrase.'),
    known_hosts_file: optionalText('File of the host keys (known_hosts) that ssh accepts. Required with ssh_key_file.'),
    ca_file: optionalText('PEM file of the certificate authority of the https server.'),
  })
  .refine(...valueOrFile('password'))
  .refine((value) => value.ssh_key_file === undefined || value.known_hosts_file !== undefined, {
    message: 'is required with ssh_key_file: host keys are always checked',
    path: ['known_hosts_file'],
  });
