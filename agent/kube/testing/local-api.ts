/** The API of a server that a test runs on this machine. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { systemClock } from '../../../shared/wait/clock.ts';
import { createKubeApi, type KubeApi } from '../api.ts';
import { ClusterConfig } from '../cluster-config.ts';

/** Listens until the end of the test. @returns the address. */
export async function serve(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

/** Closed with the test. */
export function connectTo(
  t: TestContext,
  server: string,
  options: { readonly token?: string; readonly proxyUrl?: string; readonly maxRequests?: number } = {},
): KubeApi {
  const { token, proxyUrl, ...bounds } = options;
  const config = new ClusterConfig();
  config.loadFromClusterAndUser(
    { name: 'local', server, skipTLSVerify: true, ...(proxyUrl !== undefined && { proxyUrl }) },
    { name: 'test', ...(token !== undefined && { token }) },
  );
  const api = createKubeApi({ config, clock: systemClock, ...bounds });
  t.after(() => api.close());
  return api;
}
