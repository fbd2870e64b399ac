/** Starts a server listening and returns its address. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';

export interface TcpAddress {
  readonly host: string;
  /** Port 0 selects a free port. */
  readonly port: number;
  /** The number of connections that the kernel queues until they are accepted. */
  readonly backlog?: number;
}

/** @returns the address with the actual port. @throws the error of `listen`, such as EADDRINUSE or EACCES. */
export async function listen(server: Server, address: TcpAddress): Promise<AddressInfo> {
  // `once` rejects on 'error' and removes its listeners: later errors are left to the owner of the server.
  const listening = once(server, 'listening');
  server.listen({ ...address });
  await listening;
  return server.address() as AddressInfo;
}
