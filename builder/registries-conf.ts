/** The registries.conf that buildah and podman get: the machine's own, with what the builder was told added. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface RegistriesConfDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `host[:port]` that speak plain HTTP. */
  readonly insecure: readonly string[];
  /** Where to write it. */
  readonly file: string;
}

export async function writeRegistriesConf({ env, insecure, file }: RegistriesConfDeps): Promise<void> {
  const home = env['HOME'] ?? '/root';
  const places = [
    env['CONTAINERS_REGISTRIES_CONF'],
    join(env['XDG_CONFIG_HOME'] ?? join(home, '.config'), 'containers/registries.conf'),
    '/etc/containers/registries.conf',
  ].filter((place): place is string => place !== undefined && place !== '');
  await writeFile(file, registriesConf(await firstOf(places), insecure), { mode: 0o644 });
}

export function registriesConf(own: string, insecure: readonly string[]): string {
  // A Dockerfile says `FROM node`, and means Docker Hub; without this it means nothing. Keys come before the first table.
  const search = /^\s*unqualified-search-registries\s*=/m.test(own)
    ? ''
    : 'unqualified-search-registries = ["docker.io"]\n';
  const tables = insecure.map((host) => `\n[[registry]]\nlocation = ${JSON.stringify(host)}\ninsecure = true\n`);
  return `${search}${own}\n${tables.join('')}`;
}

/** As these programs look: the first that is there. */
async function firstOf(places: readonly string[]): Promise<string> {
  for (const place of places) {
    try {
      return await readFile(place, 'utf8');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }
  return '';
}
