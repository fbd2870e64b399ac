/** The agent's configuration: its keys, what is refused at start, and the values that come from files. */
import { hostname } from 'node:os';
import { z } from 'zod';
import { refuseRepeated, refuseRepeatedApps, withAbsoluteSource } from '../shared/config/app-list.ts';
import { type Report, loadConfig } from '../shared/config/load.ts';
import {
  type ConfigSource,
  type OpenSource,
  listenHost,
  logLevel,
  openSource,
  port,
  readSecret,
  readToken,
  tokenValue,
} from '../shared/config/sections.ts';
import { type AppSpec, appConfig, appSpec } from '../shared/protocol/app-spec.ts';
import { type Scope, scope } from '../shared/protocol/methods.ts';

const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'must be a Kubernetes name: a-z, 0-9, - and .');

const system = z
  .strictObject({
    container_command: z
      .enum(['process', 'kubernetes'])
      .default('process')
      .describe('Where apps run: child processes of the agent, or a Kubernetes cluster.'),
    listen_host: listenHost.default('0.0.0.0').describe('Address that the RPC and the admin server listen on.'),
    listen_port: port.default(7400).describe('Port of the RPC, `/rpc`.'),
    admin_port: port.default(7401).describe('Port of `/livez`, `/readyz` and `/metrics`.'),
    data_dir: z
      .string()
      .min(1)
      .default('.holdfast')
      .describe('Folder for what the agent keeps on disk (process mode).'),
    log_level: logLevel.default('info').describe('Least level that is logged.'),
    router_lease_secs: z
      .number()
      .min(1)
      .max(300)
      .default(10)
      .describe('Silence of a router, seconds, after which nothing waits for its acknowledgement any more.'),
  })
  .prefault({})
  .describe('The agent itself.');

const metadata = z
  .strictObject({
    db_connection: z
      .string()
      .min(1)
      .describe('Postgres, as `postgres://user:password@host:port/database`. Give it by file where it has a password.'),
  })
  .describe('Where apps, versions and events are kept.');

const registry = z
  .strictObject({
    url: z
      .string()
      .regex(
        /^(https:\/\/)?[A-Za-z0-9.-]+(:\d{1,5})?\/?$/,
        'must be host, host:port or https://host; for plain http set insecure = true',
      )
      .transform((value) => value.replace(/^https:\/\//, '').replace(/\/$/, ''))
      .optional()
      .describe('Registry of the images, as `host` or `host:port`. Required in Kubernetes mode.'),
    insecure: z.boolean().default(false).describe('Speak plain HTTP with the registry.'),
    username: z.string().min(1).max(255).optional().describe('User of the registry.'),
    password: z.string().min(1).optional().describe('Password of the registry; better by password_file.'),
    password_file: z.string().min(1).optional().describe('File that holds the password.'),
    ca_file: z
      .string()
      .min(1)
      .optional()
      .describe('PEM file of the authority that signed the certificate of the registry.'),
  })
  .refine((value) => value.password === undefined || value.password_file === undefined, {
    message: 'is given too; give one of password and password_file',
    path: ['password_file'],
  })
  .prefault({})
  .describe('The container registry.');

const kubernetes = z
  .strictObject({
    namespace: kubernetesName.default('holdfast').describe('Namespace of Holdfast itself; its lease is there.'),
    apps_namespace: kubernetesName.default('holdfast-apps').describe('Namespace of everything that apps need.'),
    kubeconfig: z
      .string()
      .min(1)
      .optional()
      .describe("Path of a kubeconfig; without it the pod's service account is used."),
    lease_name: kubernetesName.default('holdfast-agent').describe('Name of the lease that makes one agent the leader.'),
    pod_name: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe('Name of this agent in the lease; default: the host name.'),
    image_pull_secrets: z
      .array(kubernetesName)
      .max(16)
      .default([])
      .describe('Secrets in the apps namespace that app pods pull their images with.'),
  })
  .prefault({})
  .describe('Kubernetes, read with `container_command = "kubernetes"`.');

const token = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,63}$/, 'must be 1 to 63 of A-Z, a-z, 0-9 and . _ -')
      .describe('Name of the token: events say who did what by it.'),
    scopes: z
      .array(scope)
      .min(1)
      .max(4)
      .describe('What it may do: `router`, `read`, `deploy` (includes read), `admin` (all).'),
    value: tokenValue.optional().describe('The token; better by value_file.'),
    value_file: z.string().min(1).optional().describe('File that holds the token.'),
  })
  .refine((value) => (value.value === undefined) !== (value.value_file === undefined), {
    message: 'exactly one of value and value_file must be given',
    path: ['value_file'],
  });

/** The file as written. `loadAgentConfig` gives what the agent uses. */
export const agentConfig = z
  .strictObject({
    system,
    metadata,
    registry,
    kubernetes,
    token: z.array(token).max(256).default([]).describe('Who may call the RPC; at least one.'),
    app_config: appConfig
      .prefault({})
      .describe('Defaults of every app; an app overrides single ones in `[app.config]`.'),
    app: z.array(appSpec).max(256).default([]).describe('Apps declared at start, with the keys of the app file.'),
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
    if (config.token.length === 0)
      refuse(['token'], 'at least one [[token]] is required, or nobody can call the agent');
    refuseRepeated(
      config.token.map((one) => one.name),
      (index, first) => {
        refuse(['token', index, 'name'], `token[${first}] has this name already`);
      },
    );
    refuseRepeatedApps(config.app, refuse);
  });

type AgentFile = z.output<typeof agentConfig>;

interface AgentToken {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly value: string;
}

/** The file with `*_file` values read and paths absolute. */
export interface AgentConfig extends Omit<AgentFile, 'token' | 'registry' | 'kubernetes' | 'app'> {
  readonly registry: Omit<AgentFile['registry'], 'password_file'>;
  readonly kubernetes: AgentFile['kubernetes'] & { readonly pod_name: string };
  readonly token: readonly AgentToken[];
  readonly app: readonly AppSpec[];
}

/** @throws AppError config_invalid, naming for each problem the key, its line and what to do. */
export function loadAgentConfig(source: ConfigSource): AgentConfig {
  const open = openSource(source);
  return loadConfig({ ...open, schema: agentConfig }, (file, report) => {
    const { password_file, ...registry } = file.registry;
    const fail = (message: string): void => {
      report(['registry', 'password_file'], message);
    };
    const password = password_file === undefined ? registry.password : readSecret(open, password_file, fail);
    return {
      ...file,
      registry: {
        ...registry,
        ...(password === undefined ? {} : { password }),
        ...(registry.ca_file === undefined ? {} : { ca_file: open.resolvePath(registry.ca_file) }),
      },
      kubernetes: { ...file.kubernetes, pod_name: file.kubernetes.pod_name ?? hostname() },
      token: readTokens(file.token, open, report),
      app: file.app.map((app) => withAbsoluteSource(app, open.resolvePath)),
    };
  });
}

function readTokens(tokens: AgentFile['token'], source: OpenSource, report: Report): AgentToken[] {
  const firsts = new Map<string, number>();
  return tokens.map(({ name, scopes, value, value_file }, index) => {
    const fail = (message: string): void => {
      report(['token', index, value_file === undefined ? 'value' : 'value_file'], message);
    };
    const text = readToken(source, { value, file: value_file }, fail);
    const first = firsts.get(text);
    if (text !== '' && first !== undefined) fail(`is the same token as token[${first}]; give each its own`);
    firsts.set(text, index);
    return { name, scopes, value: text };
  });
}

function refuseDatabase(connection: string, isKubernetes: boolean, refuse: (message: string) => void): void {
  if (/^postgres(ql)?:\/\//.test(connection)) return;
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(connection)?.[0];
  const use = 'use postgres://user:password@host:port/database';
  if (scheme === undefined) refuse(`is not a database URL: ${use}`);
  else refuse(`${scheme} is not supported${isKubernetes ? ' with container_command = "kubernetes"' : ''}: ${use}`);
}
