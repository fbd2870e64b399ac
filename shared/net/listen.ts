/** Makes a server listen, and tells where it does. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';

export interface TcpAddress {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Connections that the kernel keeps until they are accepted. */
  readonly backlog?: number;
}

export interface UnixAddress {
  readonly path: string;
  readonly backlog?: number;
}

/** @returns the address, with the port that was taken. @throws the error of `listen`, such as EADDRINUSE or EACCES. */
export async function listen(server: Server, address: TcpAddress): Promise<AddressInfo> {
  await start(server, address);
  return server.address() as AddressInfo;
}

/** @throws as `listen` does; also where the socket file exists already. */
export async function listenUnix(server: Server, address: UnixAddress): Promise<void> {
  await start(server, address);
}

async function start(server: Server, address: TcpAddress | UnixAddress): Promise<void> {
  // `once` rejects on 'error' and takes its listeners back: later errors are for the owner of the server.
  const listening = once(server, 'listening');
  server.listen({ ...address });
  await listening;
}
