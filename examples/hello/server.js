// A web app as Holdfast runs it: it listens on PORT, and ends when it gets SIGTERM.
import { createServer } from 'node:http';

const version = 'v1';

const server = createServer((request, response) => {
  if (request.url === '/healthz') {
    response.end('ok\n');
    return;
  }
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`Hello from ${version}\n`);
});

server.listen(Number(process.env.PORT ?? 8080), process.env.HOST, () => {
  console.log(`hello ${version} listens on port ${server.address().port}`);
});

process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
});
