/** A certificate with its key, from the two files in which it is mounted. */
import { constants, X509Certificate } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { readBounded } from '../../../shared/net/read-bounded.ts';

export interface CertificateFiles {
  /** Name in logs and metrics. */
  readonly label: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Certificate {
  readonly label: string;
  /** Lower case; `*.example` matches one more label. */
  readonly names: readonly string[];
  readonly expiresMs: number;
  readonly context: SecureContext;
}

export type TlsVersion = '1.2' | '1.3';

/** A chain with its authorities has a few kilobytes. */
const maxFileBytes = 1_048_576;

/** @returns a text that changes whenever one of the files does, also behind a link. @throws when one is missing. */
export async function stampOf({ certFile, keyFile }: CertificateFiles): Promise<string> {
  const stamps = [certFile, keyFile].map(async (file) => {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  });
  return (await Promise.all(stamps)).join(';');
}

/** @throws Error whose message says what is wrong, and names files but never what is in them. */
export async function readCertificate(files: CertificateFiles, minVersion: TlsVersion): Promise<Certificate> {
  const [cert, key] = await Promise.all([readPem(files.certFile), readPem(files.keyFile)]);
  let x509;
  try {
    x509 = new X509Certificate(cert);
  } catch {
    throw new Error(`${files.certFile} has no certificate in PEM form`);
  }
  let context;
  try {
    context = createSecureContext({
      cert,
      key,
      minVersion: `TLSv${minVersion}`,
      honorCipherOrder: true,
      // A client could otherwise ask for the work of a handshake again and again.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    });
  } catch (error) {
    throw new Error(`${files.keyFile} does not fit ${files.certFile}: ${reasonOf(error)}`, { cause: error });
  }
  return { label: files.label, names: namesOf(x509), expiresMs: Date.parse(x509.validTo), context };
}

function readPem(file: string): Promise<Buffer> {
  const tooLarge = (message: string): Error => new Error(message);
  return readBounded(createReadStream(file), { maxBytes: maxFileBytes, what: file, tooLarge });
}

/** RFC 6125 §6.4.4: the common name counts only if there is no DNS name. */
function namesOf({ subjectAltName, subject }: X509Certificate): string[] {
  const names = [...(subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"\s]+)/g)].map(([, name = '']) => name);
  if (names.length === 0) names.push(...[...subject.matchAll(/^CN=(\S+)$/gm)].map(([, name = '']) => name));
  return names.map((name) => name.toLowerCase());
}

function reasonOf(error: unknown): string {
  const { reason, message } = error as { reason?: string; message: string };
  return reason ?? message;
}
