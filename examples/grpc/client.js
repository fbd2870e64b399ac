// node client.js [ADDRESS [NAME]]: calls it, by default where `npm start` runs.
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const [address = '127.0.0.1:8080', name = ''] = process.argv.slice(2);
const { greeter } = loadPackageDefinition(loadSync(new URL('greeter.proto', import.meta.url).pathname));
const client = new greeter.Greeter(address, credentials.createInsecure());
client.hello({ name }, (error, answer) => {
  console.log(error ? `${error.code} ${error.details}` : answer.text);
  process.exitCode = error ? 1 : 0;
  client.close();
});
