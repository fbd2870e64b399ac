// Declares an app and follows how its version is made to run; needs nothing of Holdfast, only a WebSocket library.
//   HOLDFAST_AGENT=http://127.0.0.1:7400 HOLDFAST_TOKEN=… node examples/rpc/follow.mjs NAME FOLDER|IMAGE
import { resolve } from 'node:path';
import WebSocket from 'ws';

const { HOLDFAST_AGENT = 'http://127.0.0.1:7400', HOLDFAST_TOKEN = '' } = process.env;
const [name, what = ''] = process.argv.slice(2);
const from = /^[./]/.test(what) ? { source: resolve(what) } : { image: what };

const headers = { Authorization: `Bearer ${HOLDFAST_TOKEN}` };
const socket = new WebSocket(`${HOLDFAST_AGENT.replace(/^http/, 'ws')}/rpc`, 'holdfast.v1', { headers });
const call = (id, method, params) => socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));

socket.on('open', () => call('apply', 'apps.apply', { apps: [{ name, path: `/${name}`, ...from }] }));
socket.on('message', (data) => {
  const { id, result, error, params } = JSON.parse(data);
  if (params) return console.log(params.item.phase, params.item.message); // the notification rpc.item
  console.log(id, error ?? result);
  if (id === 'apply' && result) return call('ensure', 'versions.ensure', { app: name });
  process.exitCode = error ? 1 : 0;
  socket.close();
});
socket.on('error', (error) => ((process.exitCode = 1), console.error(error.message)));
