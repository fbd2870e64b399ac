/** Builds the registry client and the credentials, which the whole agent shares, from `[registry]` of the configuration. */
import { readFile } from 'node:fs/promises';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Environment } from '../../shared/config/environment.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AgentConfig } from '../config/config.ts';
import type { OwnRegistry } from '../registry/conversation.ts';
import { createCredentials, type RegistryCredentials } from '../registry/credentials.ts';
import { openDockerConfig } from '../registry/docker-config.ts';
import { createEcrLogins } from '../registry/ecr/ecr.ts';
import { createRegistry, type Registry } from '../registry/registry.ts';

export interface ConnectedRegistry {
  /** With the contents of the files; undefined if `[registry]` has no url. */
  readonly own: OwnRegistry | undefined;
  readonly registry: Registry;
  readonly credentials: RegistryCredentials;
  /** Hosts of `[[registries]]` for which pods need a pull secret. */
  readonly hostsWithLogin: readonly string[];
  close(): Promise<void>;
}

export interface ConnectRegistryDeps {
  readonly config: Pick<AgentConfig, 'registry' | 'registries'>;
  readonly env: Environment;
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws AppError config_invalid, which names the key whose file cannot be read or used. */
export async function connectRegistry({
  config: { registry: config, registries },
  env,
  clock,
  log,
}: ConnectRegistryDeps): Promise<ConnectedRegistry> {
  const { url: host, insecure, username, password } = config;
  const [ca, clientCert, clientKey] = await Promise.all(
    (['ca_file', 'client_cert_file', 'client_key_file'] as const).map((key) => readPem(`registry.${key}`, config[key])),
  );
  const own: OwnRegistry | undefined = host === undefined ? undefined : { host, insecure, ca, clientCert, clientKey };
  const login = username === undefined ? undefined : { username, password: password ?? '' };
  const path = config.docker_config_file;
  const file = path === undefined ? undefined : await openDockerConfig(path, log);
  const ecr = config.auth === 'ecr' && host !== undefined ? createEcrLogins({ ownHost: host, env, clock }) : undefined;
  const others = await Promise.all(
    registries.map(async (one, index) => ({
      host: one.host,
      insecure: one.insecure,
      ca: await readPem(`registries[${index}].ca_file`, one.ca_file),
    })),
  );
  const logins = new Map(
    registries.flatMap(({ host: name, username: user, password: secret }) =>
      user === undefined ? [] : [[name, { username: user, password: secret ?? '' }] as const],
    ),
  );
  const credentials = createCredentials({ own: own && { host: own.host, login }, others: logins, file, tokens: ecr });
  const registry = openRegistry(() => createRegistry({ own, others, credentials, clock }));
  return {
    own,
    registry,
    credentials,
    hostsWithLogin: [...logins.keys()],
    async close() {
      await registry.close();
      await ecr?.close();
    },
  };
}

function openRegistry(open: () => Registry): Registry {
  try {
    return open();
  } catch (error) {
    // OpenSSL's message: a file that is no PEM, or a key that does not belong to the certificate.
    const keys = 'registry.ca_file, client_cert_file or client_key_file, or a ca_file of registries,';
    throw new AppError('config_invalid', `${keys} cannot be used: ${toAppError(error).message}`, { cause: error });
  }
}

/** @param key names the key of the configuration in the error. @throws AppError config_invalid */
export async function readPem(key: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new AppError('config_invalid', `${key} cannot be read: ${toAppError(error).message}`, { cause: error });
  }
}
