/**
 * The certificates that the router shows: read at the start, looked at again every few seconds, chosen by the name that a client
 * asks for. They are polled and not watched, because Kubernetes swaps a link above the files, which no watch of the files sees.
 *
 * A certificate that cannot be read, or whose key does not match, is logged and leaves the one before in use; the others are not
 * affected.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { SecureContext } from 'node:tls';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import { readCertificate, stampOf, type Certificate, type CertificateFiles, type TlsVersion } from './certificate.ts';

export interface CertificatesDeps {
  /** The first one is shown to clients that ask for no name, or for one that no certificate has. */
  readonly pairs: readonly CertificateFiles[];
  /** Has a folder with `tls.crt` and `tls.key` for each further pair, or these two files themselves. */
  readonly folder?: string | undefined;
  readonly minVersion: TlsVersion;
  readonly reloadMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly onReloadFailed: () => void;
}

const maxCertificates = 1_000;
/** The pair of this name comes before the others in `folder`. */
const defaultName = 'default';

interface Entry {
  stamp: string;
  certificate: Certificate | undefined;
  /** Why the files cannot be used as they are now. */
  problem: string | undefined;
}

export class Certificates {
  readonly #deps: CertificatesDeps;
  /** Keyed by label, in order of preference. */
  #entries = new Map<string, Entry>();
  #byName = new Map<string, Certificate>();
  #first: Certificate | undefined;
  #folderProblem: string | undefined;
  readonly #closed = new AbortController();
  #watching: Promise<void> | undefined;
  #reloading: Promise<void> | undefined;

  private constructor(deps: CertificatesDeps) {
    this.#deps = deps;
  }

  /** @throws AppError config_invalid when no certificate can be used. */
  static async load(deps: CertificatesDeps): Promise<Certificates> {
    const certificates = new Certificates(deps);
    await certificates.#reload();
    if (certificates.#first === undefined) {
      const problems = [...certificates.#entries.values()].flatMap(({ problem }) => problem ?? []);
      const why = [certificates.#folderProblem, ...problems].filter((problem) => problem !== undefined);
      throw new AppError(
        'config_invalid',
        `router.tls: no certificate can be used: ${why.join('; ') || 'there is none in cert_folder'}`,
      );
    }
    certificates.#watching = certificates.#watch(certificates.#closed.signal);
    return certificates;
  }

  get first(): SecureContext {
    return (this.#first as Certificate).context;
  }

  /** @returns the certificate of the host, else of all hosts of its domain, else the first. */
  choose(host: string): SecureContext {
    const name = host.toLowerCase();
    const dot = name.indexOf('.');
    const found = this.#byName.get(name) ?? (dot > 0 ? this.#byName.get(`*${name.slice(dot)}`) : undefined);
    return found?.context ?? this.first;
  }

  get inUse(): readonly Certificate[] {
    return [...this.#entries.values()].flatMap(({ certificate }) => certificate ?? []);
  }

  /** Number of certificates whose files cannot be used as they are now. */
  get broken(): number {
    let count = this.#folderProblem === undefined ? 0 : 1;
    for (const { problem } of this.#entries.values()) if (problem !== undefined) count += 1;
    return count;
  }

  async reload(): Promise<void> {
    await (this.#reloading ??= this.#reload().finally(() => (this.#reloading = undefined)));
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all([this.#watching, this.#reloading]);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, reloadMs } = this.#deps;
    for (;;) {
      await sleep(clock, reloadMs, signal);
      if (signal.aborted) return;
      await this.reload();
    }
  }

  async #reload(): Promise<void> {
    const before = this.#entries;
    const entries = new Map<string, Entry>();
    for (const files of await this.#wanted()) {
      const entry = before.get(files.label) ?? { stamp: '', certificate: undefined, problem: undefined };
      entries.set(files.label, entry);
      await this.#refresh(entry, files);
    }
    const isUsable = [...entries.values()].some(({ certificate }) => certificate !== undefined);
    if (!isUsable && this.#first !== undefined) {
      this.#deps.log.error('no certificate is left; the ones before stay in use');
      return;
    }
    this.#entries = entries;
    this.#index();
  }

  /** Never rejects. */
  async #refresh(entry: Entry, files: CertificateFiles): Promise<void> {
    const { log, minVersion, onReloadFailed } = this.#deps;
    try {
      const stamp = await stampOf(files);
      if (stamp === entry.stamp) return;
      entry.stamp = stamp;
      const isNew = entry.certificate === undefined;
      entry.certificate = await readCertificate(files, minVersion);
      entry.problem = undefined;
      const { names, expiresMs } = entry.certificate;
      log.info(
        { certificate: files.label, names: names.slice(0, 20), expires: new Date(expiresMs).toISOString() },
        isNew ? 'certificate loaded' : 'certificate changed',
      );
    } catch (error) {
      const problem = (error as Error).message;
      // Files that are missing are found so at each look: log it once.
      if (problem === entry.problem) return;
      entry.problem = problem;
      onReloadFailed();
      log.error(
        { certificate: files.label, problem },
        entry.certificate === undefined
          ? 'a certificate cannot be used'
          : 'a certificate cannot be used; the one before stays in use',
      );
    }
  }

  async #wanted(): Promise<readonly CertificateFiles[]> {
    const { pairs, folder, log, onReloadFailed } = this.#deps;
    if (folder === undefined) return pairs;
    try {
      const found = await findPairs(folder);
      if (pairs.length + found.length > maxCertificates) throw new Error(`more than ${maxCertificates} certificates`);
      this.#folderProblem = undefined;
      return [...pairs, ...found];
    } catch (error) {
      const problem = `cert_folder: ${(error as Error).message}`;
      if (problem !== this.#folderProblem) {
        onReloadFailed();
        log.error({ problem }, 'the folder of certificates cannot be read; the ones before stay in use');
      }
      this.#folderProblem = problem;
      return pairs;
    }
  }

  #index(): void {
    const byName = new Map<string, Certificate>();
    const { inUse } = this;
    for (const certificate of inUse) {
      for (const name of certificate.names) {
        const other = byName.get(name);
        // Two certificates have one name while one takes over from the other: the one that expires later wins.
        if (other === undefined || certificate.expiresMs > other.expiresMs) byName.set(name, certificate);
      }
    }
    this.#byName = byName;
    this.#first = inUse[0];
  }
}

/** @returns pairs by name, `default` first. */
async function findPairs(folder: string): Promise<CertificateFiles[]> {
  const names = await readdir(folder);
  // Kubernetes swaps what is mounted by entries such as `..data`.
  const candidates = names.filter((name) => !name.startsWith('.')).sort(byDefaultAndName);
  const pairs: CertificateFiles[] = [];
  if (candidates.includes('tls.crt')) pairs.push(pairIn(folder));
  for (const name of candidates) {
    const path = join(folder, name);
    if ((await stat(path)).isDirectory()) pairs.push(pairIn(path));
  }
  return pairs;
}

function byDefaultAndName(a: string, b: string): number {
  if (a === defaultName || b === defaultName) return a === b ? 0 : a === defaultName ? -1 : 1;
  return a < b ? -1 : 1;
}

function pairIn(folder: string): CertificateFiles {
  return { label: basename(folder), certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
}
