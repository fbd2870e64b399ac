/**
 * A server on a loopback address is for programs of this machine. A page in a browser could reach it under a name that its owner leads
 * here (DNS rebinding), so the Host of a request has to be a name of this machine.
 */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';

/** @throws AppError misdirected */
export type HostCheck = (request: IncomingMessage) => void;

/** @param address that the server listens on. @param hosts further hosts, such as that of a proxy in front of it. */
export function createHostCheck(address: string, hosts: readonly string[]): HostCheck {
  if (!isLoopback(address)) return () => undefined;
  return ({ headers }) => {
    const name = URL.parse(`http://${headers.host ?? ''}`)?.hostname.replace(/^\[|\]$/g, '');
    if (headers.host === undefined || (name !== undefined && (isLoopback(name) || hosts.includes(name)))) return;
    throw new AppError(
      'misdirected',
      `this agent listens on ${address} and is not ${JSON.stringify(headers.host.slice(0, 100))}; name a proxy's host in [system] reserved_hosts`,
    );
  };
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name);
}
