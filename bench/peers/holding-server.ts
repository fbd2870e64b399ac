/** A peer for bench/hold.ts: plain node:http that leaves every call except `/count` and `/warm` unanswered. */
import { createServer, type ServerResponse } from 'node:http';
import { announce } from '../programs/announce.ts';

const held = new Set<ServerResponse>();

const server = createServer((req, res) => {
  if (req.url === '/count') res.end(String(held.size));
  else if (req.url === '/warm') res.end();
  else {
    held.add(res);
    res.once('close', () => held.delete(res));
  }
});
announce(server);
