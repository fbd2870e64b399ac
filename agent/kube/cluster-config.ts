/** How the API server is reached and with which credentials: the pod's own service account, or a kubeconfig. */
import { KubeConfig, type DispatcherOptions } from '@kubernetes/client-node';
import { AppError } from '../../shared/errors.ts';

/**
 * A KubeConfig that makes no connections. Client-node would make a pool for each request; here the pools of api.ts take
 * the TLS and proxy options that were in force when a request was authenticated last.
 */
export class ClusterConfig extends KubeConfig {
  #connection: DispatcherOptions = { type: 'none' };

  /** Origin of the API server with an optional path, no trailing slash. */
  get server(): string {
    return (this.getCurrentCluster()?.server ?? '').replace(/\/+$/, '');
  }

  /** Read after `applySecurityAuthentication`: certificates may be renewed on disk. */
  get connection(): DispatcherOptions {
    return this.#connection;
  }

  override createDispatcherOptions(
    ...[cluster, options]: Parameters<KubeConfig['createDispatcherOptions']>
  ): DispatcherOptions {
    this.#connection = super.createDispatcherOptions(cluster, options);
    return { type: 'none' };
  }
}

/**
 * @param options.kubeconfig path of a kubeconfig; without it the service account of the pod is used.
 * @throws AppError config_invalid when neither is there.
 */
export function loadClusterConfig(options: {
  readonly kubeconfig?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}): ClusterConfig {
  const { kubeconfig, env } = options;
  const config = new ClusterConfig();
  if (kubeconfig === undefined) {
    if (!env['KUBERNETES_SERVICE_HOST']) {
      throw new AppError('config_invalid', '[kubernetes] kubeconfig is not set, and the agent does not run in a pod');
    }
    config.loadFromCluster();
    return config;
  }
  try {
    config.loadFromFile(kubeconfig);
  } catch (error) {
    throw new AppError('config_invalid', `[kubernetes] kubeconfig ${kubeconfig} cannot be read`, { cause: error });
  }
  if (config.getCurrentCluster() === null) {
    throw new AppError('config_invalid', `[kubernetes] kubeconfig ${kubeconfig} has no current context`);
  }
  return config;
}
