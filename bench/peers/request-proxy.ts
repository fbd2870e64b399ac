/** A peer for bench/forward.ts where there is no Go: node:http in, http.request out. `node request-proxy.ts ORIGIN` */
import { Agent, createServer, request } from 'node:http';
import { announce } from '../programs/announce.ts';

const { hostname, port } = new URL(process.argv[2] ?? '');
const agent = new Agent({ keepAlive: true });

const server = createServer((req, res) => {
  const { connection: _, ...headers } = req.headers;
  const out = request({ agent, hostname, port, path: req.url, method: req.method, headers }, (answer) => {
    const { connection: _, 'keep-alive': __, ...fields } = answer.headers;
    res.writeHead(answer.statusCode ?? 502, fields);
    answer.pipe(res);
  });
  out.on('error', () => res.destroy());
  req.pipe(out);
});
announce(server);
