// An app with a Dockerfile of its own. Without images (`npm start`) the preset of its files runs it.
const { createServer } = require('node:http');

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end('Hello from a Dockerfile\n');
});

server.listen(Number(process.env.PORT ?? 8080));
process.on('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
});
