/** `[router.tls]`: the port for TLS with clients, and its certificates. */
import { z } from 'zod';
import { decimal, integer } from '../../../shared/number-keys.ts';
import { port } from '../../../shared/config/sections.ts';
import type { CertificateFiles } from './certificate.ts';

const file = z.string().min(1).max(4_096);

export const tlsConfig = z
  .strictObject({
    listen_port: port.optional().describe('Port for calls with TLS; without it the router does not speak TLS.'),
    certificate: z
      .array(
        z.strictObject({
          cert_file: file.describe('PEM file of the certificate, followed by its intermediate certificates.'),
          key_file: file.describe('PEM file of its key.'),
        }),
      )
      .max(1_000)
      .default([])
      .describe('A certificate; the first one is shown to clients that name no host, or one without a certificate.'),
    cert_folder: file
      .optional()
      .describe(
        'Folder with a folder for each further certificate, which has `tls.crt` and `tls.key` as Kubernetes mounts a Secret; the one named `default` comes first.',
      ),
    reload_secs: decimal([1, 86_400], 10).describe(
      'How often the files are checked for changes, seconds; a certificate that cannot be used leaves the one before in use.',
    ),
    min_version: z.enum(['1.2', '1.3']).default('1.2').describe('Lowest version of TLS that is accepted.'),
    handshake_timeout_secs: decimal([1, 300], 10).describe('Timeout for the handshake of a new connection, seconds.'),
    max_handshakes: integer([1, 100_000], 512).describe(
      'Handshakes under way at most, and an eighth more for clients that have none; when full, the oldest one that has taken two seconds is closed to make room.',
    ),
    redirect_http: z
      .boolean()
      .default(false)
      .describe('Redirect calls without TLS to https by 308, unless a trusted proxy says that they came by https.'),
    public_port: integer([1, 65_535], 443).describe('Port at which clients reach TLS, for redirect_http.'),
  })
  .prefault({})
  .describe('TLS with clients.');

export type TlsConfig = z.output<typeof tlsConfig>;

/** @returns the pairs of `[[router.tls.certificate]]`. */
export function listedPairs({ certificate }: Pick<TlsConfig, 'certificate'>): CertificateFiles[] {
  return certificate.map(({ cert_file, key_file }) => ({ label: cert_file, certFile: cert_file, keyFile: key_file }));
}
