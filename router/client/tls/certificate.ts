/** A certificate with its key, from the two files in which it is mounted. */
import { X509Certificate } from 'node:crypto';
import { constants } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';

export interface CertificateFiles {
  /** What it is called in logs and metrics. */
  readonly label: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Certificate {
  readonly label: string;
  /** Lower case; `*.example` stands for one label more. */
  readonly names: readonly string[];
  readonly expiresMs: number;
  readonly context: SecureContext;
}

export type TlsVersion = '1.2' | '1.3';

/** A chain with its authorities has some kilobytes. */
const maxFileBytes = 1_048_576;

/** Another text whenever one of the files is another one, also behind a link. Rejects when one is missing. */
export async function stampOf({ certFile, keyFile }: CertificateFiles): Promise<string> {
  const stamps = [certFile, keyFile].map(async (file) => {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  });
  return (await Promise.all(stamps)).join(';');
}

/** Rejects with what is wrong with them; the text names files and never what is in them. */
export async function readCertificate(files: CertificateFiles, minVersion: TlsVersion): Promise<Certificate> {
  const [cert, key] = await Promise.all([readBounded(files.certFile), readBounded(files.keyFile)]);
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
      // A client could have the work of handshakes done again and again.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    });
  } catch (error) {
    throw new Error(`${files.keyFile} does not fit ${files.certFile}: ${reasonOf(error)}`, { cause: error });
  }
  return { label: files.label, names: namesOf(x509), expiresMs: Date.parse(x509.validTo), context };
}

async function readBounded(file: string): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    if (size > maxFileBytes) throw new Error(`${file} is larger than ${maxFileBytes} bytes`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** RFC 6125 §6.4.4: the common name counts only where there is no DNS name. */
function namesOf({ subjectAltName, subject }: X509Certificate): string[] {
  const names = [...(subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"\s]+)/g)].map(([, name = '']) => name);
  if (names.length === 0) names.push(...[...subject.matchAll(/^CN=(\S+)$/gm)].map(([, name = '']) => name));
  return names.map((name) => name.toLowerCase());
}

function reasonOf(error: unknown): string {
  const { reason, message } = error as { reason?: string; message: string };
  return reason ?? message;
}
