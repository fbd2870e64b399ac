/** The agent's configuration: its keys, the checks at start, and the values that are read from files. */
import { hostname } from 'node:os';
import { z } from 'zod';
import { refuseRepeated, refuseRepeatedApps, withAbsoluteSource } from '../../shared/config/app-list.ts';
import { loadConfig } from '../../shared/config/load.ts';
import {
  type ConfigSource,
  type OpenSource,
  listenHost,
  logLevel,
  openSource,
  port,
  readSecret,
} from '../../shared/config/sections.ts';
import { appConfig } from '../../shared/protocol/app-config.ts';
import { type DeclaredApp, declaredApp, domainName, hostPattern, withRoute } from '../../shared/protocol/app-spec.ts';
import { builder, kubernetesName } from './builder-section.ts';
import { furtherRegistry, registry } from './registry-section.ts';
import { gitAuth, source } from './source-sections.ts';
import { type AgentToken, readTokens, token } from './token-section.ts';
import { decimal, integer } from '../../shared/number-keys.ts';
import { optionalText, text } from './keys.ts';

/** Scheme, host and port. */
const publicUrl = z
  .string()
  .max(512)
  .refine((value) => isOrigin(value), 'must be http:// or https:// with a host and perhaps a port, without a path')
  .transform((value) => new URL(value).origin);

function isOrigin(value: string): boolean {
  const url = URL.parse(value);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) return false;
  return /^https?:\/\/[^/?#@\\]+\/?$/i.test(value);
}

const hostName = z
  .string()
  .max(253)
  .transform((value) => value.toLowerCase())
  .pipe(z.string().regex(hostPattern, 'must be a host such as rpc.apps.example, or *.example'));

const system = z
  .strictObject({
    container_command: z
      .enum(['process', 'kubernetes'])
      .default('process')
      .describe('Where apps run: as child processes of the agent, or in a Kubernetes cluster.'),
    listen_host: listenHost
      .optional()
      .describe(
        'Address on which the RPC server and the admin server listen. Default: `127.0.0.1` with `container_command = "process"`, whose apps run as this user; else `0.0.0.0`. On a loopback address, the RPC server answers under names of this machine and under `reserved_hosts` only.',
      ),
    listen_port: port.default(7400).describe('Port of the RPC server (`/rpc`).'),
    admin_port: port.default(7401).describe('Port of `/livez`, `/readyz` and `/metrics`.'),
    default_domain: domainName
      .optional()
      .describe(
        'Domain of apps without a `path`: app `shop` gets the host `shop.<default_domain>`. DNS must lead `*.<default_domain>` to the routers. Without it, every app needs a `path`.',
      ),
    public_url: publicUrl
      .optional()
      .describe(
        'Where callers reach the routers: scheme, host and port, such as `https://apps.example`. URLs of apps are shown with its scheme and port, and with its host where their route has none.',
      ),
    reserved_hosts: z
      .array(hostName)
      .max(256)
      .default([])
      .describe('Hosts that lead elsewhere, such as that of the RPC. No app may have one of them.'),
    data_dir: z.string().min(1).default('.holdfast').describe('Folder for the data that the agent keeps on disk.'),
    audit_keep_days: integer([1, 3_650], 365).describe(
      'Days for which the audit is kept in the database (`holdfast audit`); at most a million entries.',
    ),
    log_level: logLevel.default('info').describe('Lowest level that is logged.'),
    router_lease_secs: decimal([1, 300], 10).describe(
      'Time without a sign of life from a router, seconds, after which nothing waits for its acknowledgement.',
    ),
  })
  .prefault({})
  .describe('The agent itself.');

const metadata = z
  .strictObject({
    db_connection: z
      .string()
      .min(1)
      .describe(
        'URL of the Postgres database: `postgres://user:password@host:port/database`. If it contains a password, set it from a file; without one, PGPASSWORD is used. `?sslmode=` and `sslrootcert=` mean what they mean to psql.',
      ),
  })
  .describe('Where apps, versions and events are stored.');

const kubernetes = z
  .strictObject({
    namespace: kubernetesName.default('holdfast').describe('Namespace of Holdfast itself, which holds its Lease.'),
    apps_namespace: kubernetesName.default('holdfast-apps').describe('Namespace of the apps.'),
    kubeconfig: optionalText("Path of a kubeconfig. Default: the service account of the agent's pod."),
    lease_name: kubernetesName
      .default('holdfast-agent')
      .describe('Name of the Lease by which one agent is elected leader.'),
    pod_name: text(253).optional().describe('Name of this agent in the Lease. Default: the host name.'),
    image_pull_secrets: z
      .array(kubernetesName)
      .max(16)
      .default([])
      .describe('Image pull secrets of app pods, in the namespace of the apps.'),
  })
  .prefault({})
  .describe('Access to Kubernetes. Used with `container_command = "kubernetes"`.');

/** The file as written. `loadAgentConfig` returns what the agent uses. */
export const agentConfig = z
  .strictObject({
    system,
    metadata,
    registry,
    registries: z
      .array(furtherRegistry)
      .max(64)
      .default([])
      .describe(
        'Further registries from which images of apps come, with how the agent and the pods of apps reach them.',
      ),
    kubernetes,
    builder,
    source,
    git_auth: z.array(gitAuth).max(64).default([]).describe('Credentials for git servers, by name.'),
    token: z.array(token).max(256).default([]).describe('Tokens that may call the RPC. At least one is required.'),
    app_config: appConfig.prefault({}).describe('Defaults of every app. An app overrides them in `[app.config]`.'),
    app: z
      .array(declaredApp)
      .max(256)
      .default([])
      .describe('Apps that are declared at start, with the keys of the app file.'),
  })
  .superRefine((config, context) => {
    const refuse = (path: (string | number)[], message: string): void => {
      context.addIssue({ code: 'custom', path, message });
    };
    const isKubernetes = config.system.container_command === 'kubernetes';
    refuseDatabase(config.metadata.db_connection, isKubernetes, (message) => {
      refuse(['metadata', 'db_connection'], message);
    });
    if (isKubernetes && config.registry.url === undefined) {
      refuse(['registry', 'url'], 'is required with container_command = "kubernetes": name the registry of the images');
    }
    refuseRepeated(
      config.registries.map(({ host }) => host.toLowerCase()),
      (index, first) => refuse(['registries', index, 'host'], `registries[${first}] has this host already`),
    );
    const ownHost = config.registry.url?.toLowerCase();
    config.registries.forEach(({ host }, index) => {
      if (host.toLowerCase() === ownHost)
        refuse(['registries', index, 'host'], 'is that of [registry]: set its keys there');
    });
    refuseRepeated(
      config.git_auth.map((one) => one.name),
      (index, first) => {
        refuse(['git_auth', index, 'name'], `git_auth[${first}] has this name already`);
      },
    );
    if (config.token.length === 0)
      refuse(['token'], 'at least one [[token]] is required, or nobody can call the agent');
    refuseRepeated(
      config.token.map((one) => one.name),
      (index, first) => {
        refuse(['token', index, 'name'], `token[${first}] has this name already`);
      },
    );
    refuseRepeatedApps(config.app, refuse);
    config.app.forEach((app, index) => {
      if (withRoute(app, config.system.default_domain) === undefined)
        refuse(['app', index, 'path'], 'is required, because [system] default_domain is not set');
    });
  });

type AgentFile = z.output<typeof agentConfig>;

/** The configuration with the secrets of `*_file` keys read and all paths absolute. */
export interface AgentConfig extends Omit<
  AgentFile,
  'system' | 'token' | 'registry' | 'registries' | 'kubernetes' | 'builder' | 'source' | 'git_auth' | 'app'
> {
  readonly system: AgentFile['system'] & { readonly listen_host: string };
  readonly registry: Omit<AgentFile['registry'], 'password_file'>;
  readonly registries: readonly Omit<AgentFile['registries'][number], 'password_file'>[];
  readonly kubernetes: AgentFile['kubernetes'] & { readonly pod_name: string };
  readonly builder: Omit<AgentFile['builder'], 'builder_auth_token_file'>;
  readonly source: Omit<AgentFile['source'], 'webhook_secret_file'>;
  readonly git_auth: readonly Omit<AgentFile['git_auth'][number], 'password_file'>[];
  readonly token: readonly AgentToken[];
  readonly app: readonly DeclaredApp[];
}

/** @throws AppError config_invalid, which names the key, its line and what to do for each problem. */
export function loadAgentConfig(given: ConfigSource): AgentConfig {
  const open = openSource(given);
  return loadConfig({ ...open, schema: agentConfig }, (file, report) => {
    /** The value of a key, or the content of the file that `<key>_file` names. */
    const secret = (
      path: readonly (string | number)[],
      value: string | undefined,
      file: string | undefined,
    ): string | undefined => {
      if (file === undefined) return value;
      return readSecret(open, file, (message) => report([...path.slice(0, -1), `${path.at(-1)}_file`], message));
    };
    const { password_file, ...registryFile } = file.registry;
    const { builder_auth_token_file, ...builderFile } = file.builder;
    const { webhook_secret_file, ...sourceFile } = file.source;
    const { listen_host = file.system.container_command === 'process' ? '127.0.0.1' : '0.0.0.0' } = file.system;
    return {
      ...file,
      system: { ...file.system, listen_host },
      registry: {
        ...absolutePaths(registryFile, open, ['ca_file', 'client_cert_file', 'client_key_file', 'docker_config_file']),
        password: secret(['registry', 'password'], registryFile.password, password_file),
      },
      registries: file.registries.map(({ password_file: path, ...one }, index) => ({
        ...absolutePaths(one, open, ['ca_file']),
        password: secret(['registries', index, 'password'], one.password, path),
      })),
      kubernetes: { ...file.kubernetes, pod_name: file.kubernetes.pod_name ?? hostname() },
      builder: {
        ...absolutePaths(builderFile, open, ['ca_file']),
        builder_auth_token: secret(
          ['builder', 'builder_auth_token'],
          builderFile.builder_auth_token,
          builder_auth_token_file,
        ),
      },
      source: {
        ...sourceFile,
        webhook_secret: secret(['source', 'webhook_secret'], sourceFile.webhook_secret, webhook_secret_file),
      },
      git_auth: file.git_auth.map(({ password_file: path, ...auth }, index) => ({
        ...absolutePaths(auth, open, ['ssh_key_file', 'known_hosts_file', 'ca_file']),
        password: secret(['git_auth', index, 'password'], auth.password, path),
      })),
      token: readTokens(file.token, open, report),
      app: file.app.map((app) => withAbsoluteSource(app, open.resolvePath)),
    };
  });
}

function absolutePaths<S extends object>(section: S, { resolvePath }: OpenSource, keys: readonly (keyof S)[]): S {
  const resolved = { ...section };
  for (const key of keys) {
    const path = section[key];
    if (typeof path === 'string') resolved[key] = resolvePath(path) as S[typeof key];
  }
  return resolved;
}

/** Whether the driver finds the parts that were meant: a password with a character of URLs cuts it off in another place. */
function isReadable(connection: string): boolean {
  // As the driver does for a URL without a host, which means a socket of this machine.
  const url = URL.parse(connection) ?? URL.parse(connection.replace('@/', '@local/'));
  if (url === null) return false;
  const { username, password, pathname, search, hash } = url;
  if (hash !== '' || (username === '' && `${pathname}${search}`.includes('@'))) return false;
  try {
    [username, password, pathname].forEach(decodeURIComponent);
  } catch {
    return false;
  }
  return true;
}

function refuseDatabase(connection: string, isKubernetes: boolean, refuse: (message: string) => void): void {
  if (/^postgres(ql)?:\/\//.test(connection)) {
    if (!isReadable(connection)) {
      refuse(
        'cannot be read: in user, password and database, write @ as %40, / as %2F, # as %23, ? as %3F, % as %25; or leave the password out and set PGPASSWORD',
      );
    }
    return;
  }
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(connection)?.[0];
  const use = 'use postgres://user:password@host:port/database';
  if (scheme === undefined) refuse(`is not a database URL: ${use}`);
  else refuse(`${scheme} is not supported${isKubernetes ? ' with container_command = "kubernetes"' : ''}: ${use}`);
}
