/** `[router.tls]`: where TLS is spoken with clients, and by which certificates. */
import { z } from 'zod';
import { port } from '../../../shared/config/sections.ts';
import type { CertificateFiles } from './certificate.ts';

const file = z.string().min(1).max(4_096);

export const tlsConfig = z
  .strictObject({
    listen_port: port.optional().describe('Port of the calls by TLS; without it TLS is not spoken.'),
    certificate: z
      .array(
        z.strictObject({
          cert_file: file.describe('PEM file of the certificate, with those of the authorities between behind it.'),
          key_file: file.describe('PEM file of its key.'),
        }),
      )
      .max(1_000)
      .default([])
      .describe('A certificate; the first one is shown to clients that name no host, or one that none has.'),
    cert_folder: file
      .optional()
      .describe(
        'Folder with one folder for each further certificate, in it `tls.crt` and `tls.key`, as Kubernetes mounts a Secret; the one named `default` goes first.',
      ),
    reload_secs: z
      .number()
      .min(1)
      .max(86_400)
      .default(10)
      .describe(
        'How often the files are looked at again, seconds; one that is broken leaves the one of before in use.',
      ),
    min_version: z.enum(['1.2', '1.3']).default('1.2').describe('Least version of TLS that is spoken.'),
    handshake_timeout_secs: z
      .number()
      .min(1)
      .max(300)
      .default(10)
      .describe('Time a new connection has to become secure, seconds.'),
    max_handshakes: z
      .int()
      .min(1)
      .max(100_000)
      .default(512)
      .describe(
        'Handshakes under way at most, and an eighth more for clients that have none; over it the oldest one that has had two seconds makes room.',
      ),
    redirect_http: z
      .boolean()
      .default(false)
      .describe('Answer calls without TLS with 308 to https, unless a trusted proxy says that they came by https.'),
    public_port: z.int().min(1).max(65_535).default(443).describe('Port that clients reach TLS by, for redirect_http.'),
  })
  .prefault({})
  .describe('TLS with clients.');

export type TlsConfig = z.output<typeof tlsConfig>;

/** The pairs that are listed, by name. */
export function listedPairs({ certificate }: Pick<TlsConfig, 'certificate'>): CertificateFiles[] {
  return certificate.map(({ cert_file, key_file }) => ({ label: cert_file, certFile: cert_file, keyFile: key_file }));
}
