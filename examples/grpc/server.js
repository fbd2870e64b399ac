// A gRPC app: `protocol = "h2c"` in its app file, and a path that its methods begin with.
import { loadPackageDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { greeter } = loadPackageDefinition(loadSync(new URL('greeter.proto', import.meta.url).pathname));
const greet = ({ name }) => ({ text: `Hello ${name || 'from grpc'}` });

const server = new Server();
server.addService(greeter.Greeter.service, {
  hello: (call, done) => done(null, greet(call.request)),
  chat(call) {
    call.on('data', (name) => call.write(greet(name)));
    call.on('end', () => call.end());
    call.on('error', () => {}); // The caller has left.
  },
});
server.bindAsync(`0.0.0.0:${process.env.PORT ?? 8080}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on('SIGTERM', () => server.tryShutdown(() => process.exit()));
