/**
 * How the API server is reached and with which credentials: the pod's own service account, or a kubeconfig.
 *
 * Only the kubeconfig's way loads @kubernetes/client-node (certificates, tokens, exec plugins): the library takes about
 * 85 MB, which an agent in a cluster need not spend for three small files.
 */
import { readFile } from 'node:fs/promises';
import { AppError } from '../../shared/errors.ts';

export interface TlsOptions {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
}

export interface KubeAccess {
  /** Origin with an optional path, no trailing slash. */
  readonly server: string;
  /** Of the pod or of the current context, where known. */
  readonly namespace: string | undefined;
  /** Asked before every request: tokens and certificates are renewed on disk. */
  credentials(): Promise<Credentials>;
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Projected tokens live an hour at least and are renewed at 80 %: a minute in memory is safe. */
const tokenCacheMs = 60_000;

/**
 * @param options.kubeconfig path of a kubeconfig; without it the service account of the pod is used.
 * @throws AppError config_invalid where neither is there.
 */
export async function loadKubeAccess(options: {
  readonly kubeconfig?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}): Promise<KubeAccess> {
  return options.kubeconfig === undefined ? await inCluster(options.env) : await fromKubeconfig(options.kubeconfig);
}

async function inCluster(env: Readonly<Record<string, string | undefined>>): Promise<KubeAccess> {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (host === undefined || host === '') {
    throw new AppError('config_invalid', '[kubernetes] kubeconfig is not set and this is no pod of a cluster');
  }
  const read = async (name: string): Promise<string> => (await readFile(`${serviceAccount}/${name}`, 'utf8')).trim();
  let loaded: { readonly value: Credentials; readonly atMs: number } | undefined;
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace: await read('namespace').catch(() => undefined),
    async credentials() {
      if (loaded !== undefined && performance.now() - loaded.atMs < tokenCacheMs) return loaded.value;
      const [ca, token] = await Promise.all([read('ca.crt'), read('token')]);
      loaded = { value: { headers: { authorization: `Bearer ${token}` }, tls: { ca } }, atMs: performance.now() };
      return loaded.value;
    },
  };
}

async function fromKubeconfig(path: string): Promise<KubeAccess> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
  } catch (error) {
    throw new AppError('config_invalid', `[kubernetes] kubeconfig ${path} cannot be read`, { cause: error });
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new AppError('config_invalid', `[kubernetes] kubeconfig ${path} has no current context`);
  }
  const context = config.getContextObject(config.getCurrentContext());
  return {
    server: cluster.server.replace(/\/+$/, ''),
    namespace: context?.namespace,
    async credentials() {
      // Not applySecurityAuthentication: that makes a new connection pool for each request (client-node 2.0).
      const options: Parameters<typeof config.applyToHTTPSOptions>[0] = {};
      await config.applyToHTTPSOptions(options);
      const user = config.getCurrentUser();
      const basic =
        user?.username === undefined
          ? {}
          : {
              authorization: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}`,
            };
      const { ca, cert, key, servername, rejectUnauthorized, headers } = options as TlsOptions & {
        readonly headers?: Readonly<Record<string, string>>;
      };
      return {
        headers: { ...basic, ...lowerCase(headers ?? {}) },
        tls: {
          ...(ca === undefined ? {} : { ca }),
          ...(cert === undefined ? {} : { cert }),
          ...(key === undefined ? {} : { key }),
          ...(servername === undefined ? {} : { servername }),
          ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
        },
      };
    },
  };
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
