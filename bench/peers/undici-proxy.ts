/** A peer for bench/forward.ts: node:http in, undici out, and nothing else. `node undici-proxy.ts ORIGIN` */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { Pool, type Dispatcher } from 'undici';
import { announce } from '../programs/announce.ts';

const pool = new Pool(process.argv[2] ?? '', { connections: 256, pipelining: 1 });

function answerTo(res: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onRequestStart: () => undefined,
    onResponseStart(_controller, status, headers) {
      const { connection: _, 'keep-alive': __, ...fields } = headers;
      res.writeHead(status, fields);
    },
    onResponseData: (_controller, chunk) => void res.write(chunk),
    onResponseEnd: () => void res.end(),
    onResponseError: () => void res.destroy(),
  };
}

const server = createServer((req, res) => {
  const { connection: _, ...headers }: IncomingHttpHeaders = req.headers;
  const body = req.headers['content-length'] === undefined ? null : req;
  pool.dispatch({ path: req.url ?? '/', method: req.method as Dispatcher.HttpMethod, headers, body }, answerTo(res));
});
announce(server);
