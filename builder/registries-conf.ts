/** The registries.conf for buildah and podman: the machine's own, extended by the builder's options. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface RegistriesConfDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Registries, as `host[:port]`, that speak plain HTTP. */
  readonly insecure: readonly string[];
  /** The file to write. */
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
  // Makes `FROM node` mean Docker Hub; without it short names are errors. TOML keys must come before the first table.
  const search = /^\s*unqualified-search-registries\s*=/m.test(own)
    ? ''
    : 'unqualified-search-registries = ["docker.io"]\n';
  const tables = insecure.map((host) => `\n[[registry]]\nlocation = ${JSON.stringify(host)}\ninsecure = true\n`);
  return `${search}${own}\n${tables.join('')}`;
}

/** Reads the first file that exists, as these programs do. */
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
