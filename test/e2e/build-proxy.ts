/**
 * A forward proxy on the host's side of a test cluster, whose pods have no way out. A build gets it as the predefined build args
 * HTTP_PROXY and HTTPS_PROXY (NO_PROXY: the cluster's registry), so that RUN reaches the package registries that the host reaches:
 * directly, or through the proxy that the host's own environment names.
 */
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { env } from 'node:process';
import { pipeline } from 'node:stream';

export interface BuildProxy {
  /** What HTTP_PROXY and HTTPS_PROXY are set to. */
  readonly url: string;
  close(): Promise<void>;
}

const connectTimeoutMs = 10_000;

/**
 * Listens on `host`, an address of this machine that pods reach (198.18.N.1), and on no other. A fixed `port` keeps layers in the
 * cache between runs: Kaniko's keys are over the proxy args too.
 */
export async function startBuildProxy(host: string, port = 0): Promise<BuildProxy> {
  const upstream = upstreamOf(env);
  const sockets = new Set<Socket>();
  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((request, response) => forward(request, response, upstream));
  server.on('connection', track);
  server.on('connect', (request: IncomingMessage, client: Socket, head: Buffer) => {
    const target = upstream ?? URL.parse(`http://${request.url ?? ''}`);
    if (target === null) {
      client.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      return;
    }
    const remote = track(connect(Number(target.port || 80), target.hostname.replace(/^\[|\]$/g, '')));
    const cut = (): void => void (client.destroy(), remote.destroy());
    remote.setTimeout(connectTimeoutMs, cut);
    client.on('error', cut).on('close', () => remote.destroy());
    remote.on('error', cut).on('close', () => client.destroy());
    remote.once('connect', () => {
      remote.setTimeout(0);
      // an upstream proxy answers for itself
      if (upstream === undefined) client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      else remote.write(`CONNECT ${request.url ?? ''} HTTP/1.1\r\nHost: ${request.url ?? ''}\r\n\r\n`);
      if (head.length > 0) remote.write(head);
      client.pipe(remote);
      remote.pipe(client);
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function upstreamOf(variables: NodeJS.ProcessEnv): URL | undefined {
  const url =
    variables['HTTPS_PROXY'] ?? variables['https_proxy'] ?? variables['HTTP_PROXY'] ?? variables['http_proxy'];
  return url === undefined || url === '' ? undefined : new URL(url);
}

/** A plain request: its target is an absolute URL (RFC 9112 §3.2.2). */
function forward(request: IncomingMessage, response: ServerResponse, upstream: URL | undefined): void {
  const target = URL.parse(request.url ?? '');
  if (target?.protocol !== 'http:') {
    response.writeHead(400).end();
    return;
  }
  const { 'proxy-connection': _dropped, ...headers } = request.headers;
  const via = upstream ?? target;
  const onward = httpRequest({
    host: via.hostname,
    port: via.port || 80,
    method: request.method,
    path: upstream === undefined ? target.pathname + target.search : target.href,
    headers,
  });
  onward.setTimeout(connectTimeoutMs, () => onward.destroy(new Error('no answer')));
  onward.once('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    pipeline(answer, response, () => undefined);
  });
  onward.once('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  pipeline(request, onward, () => undefined);
}
