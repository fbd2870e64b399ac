/** Derives the URL of the RPC endpoint from `http(s)://host:port`. */
import { AppError } from '../errors.ts';
import { rpcPath } from '../protocol/methods.ts';

const schemes = {
  http: { 'http:': 'http:', 'ws:': 'http:', 'https:': 'https:', 'wss:': 'https:' },
  ws: { 'http:': 'ws:', 'ws:': 'ws:', 'https:': 'wss:', 'wss:': 'wss:' },
} as const;

/**
 * Keeps a path prefix (an ingress may need one) and does not double a trailing `/rpc`.
 * @throws AppError config_invalid.
 */
export function endpointUrl(text: string, transport: 'http' | 'ws'): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const table: Readonly<Record<string, string>> = schemes[transport];
  const scheme = url === undefined ? undefined : table[url.protocol];
  if (url === undefined || scheme === undefined || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new AppError('config_invalid', `the agent URL must be http(s)://host:port`);
  }
  const base = url.pathname.replace(/\/+$/, '');
  return `${scheme}//${url.host}${base.endsWith(rpcPath) ? base : base + rpcPath}`;
}
