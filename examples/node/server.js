// A Node.js app with a dependency: the preset `node` installs it by package-lock.json.
import { createServer } from 'node:http';
import mime from 'mime';

const server = createServer((request, response) => {
  const type = mime.getType(request.url) ?? 'no type';
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`Hello from node: ${type}\n`);
});

server.listen(Number(process.env.PORT ?? 8080));
process.on('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
});
