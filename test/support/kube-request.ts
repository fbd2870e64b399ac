/** Plain requests to the API server that KUBECONFIG names, by their path: what tests do besides the agent. */
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import { request } from 'undici';

/** @throws Error with the status and the words of the API server for every answer but 2xx. */
export async function kubeRequest<T>(options: {
  readonly method: HttpMethod;
  /** `/api/v1/namespaces/apps/pods?limit=1` */
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}): Promise<T> {
  const { method, path, body, signal = AbortSignal.timeout(20_000) } = options;
  const config = new KubeConfig();
  config.loadFromFile(process.env['KUBECONFIG'] ?? '');
  const context = new RequestContext(`${config.getCurrentCluster()?.server ?? ''}${path}`, method);
  await config.applySecurityAuthentication(context);
  const dispatcher = context.getDispatcher();
  try {
    const response = await request(context.getUrl(), {
      method,
      headers: {
        ...context.getHeaders(),
        'content-type': method === HttpMethod.PATCH ? 'application/merge-patch+json' : 'application/json',
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
      ...(dispatcher !== undefined && { dispatcher }),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${String(response.statusCode)} ${text}`);
    return JSON.parse(text) as T;
  } finally {
    await dispatcher?.close();
  }
}
