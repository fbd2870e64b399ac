/**
 * The headers of a forwarded call, both ways: hop-by-hop fields out, what the router knows of the client in, everything
 * else as it came, in order and in its own case.
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIPv6, type Socket } from 'node:net';
import { AppError } from '../shared/errors.ts';
import { pathFault } from './path.ts';

/** Fields of one connection only, RFC 9110 §7.6.1, with those that older proxies treat so. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** What only a trusted proxy may say. */
const forwardingFields: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-proto',
  'x-forwarded-server',
  'x-forwarded-ssl',
  'x-real-ip',
  'x-request-id',
]);

/** Connection: …, host may not take off what the message is delimited or routed by. */
const neverNamed: ReadonlySet<string> = new Set(['host', 'content-length', 'connection']);

export interface RequestHead {
  readonly requestId: string;
  /** As sent, or of the absolute-form target. */
  readonly host: string;
  /** Path and query, raw. */
  readonly path: string;
  /** For the app, names and values by turns; without X-Forwarded-Prefix, which depends on the route. */
  readonly headers: readonly string[];
  /** Prefix that a trusted proxy before us has taken off. */
  readonly outerPrefix: string;
  readonly hasBody: boolean;
  /** The request says that trailer fields follow its body. */
  readonly announcesTrailers: boolean;
}

export interface HeadReader {
  /** @throws AppError request_invalid for a request that two servers could understand differently. */
  read(req: IncomingMessage): RequestHead;
}

/** @param trustedProxies addresses and CIDRs whose word on the client is taken. */
export function createHeadReader(deps: {
  readonly trustedProxies: readonly string[];
  readonly newId: () => string;
}): HeadReader {
  const trusted = blockListOf(deps.trustedProxies);
  const clients = new WeakMap<Socket, Client>();
  return {
    read(req) {
      let client = clients.get(req.socket);
      if (client === undefined) clients.set(req.socket, (client = clientOf(req.socket, trusted)));
      return readHead(req, client, deps.newId);
    },
  };
}

/** The other end of the connection. */
interface Client {
  readonly address: string;
  readonly trusted: boolean;
}

function clientOf(socket: Socket, trusted: BlockList): Client {
  const raw = socket.remoteAddress ?? '';
  const address = raw.startsWith('::ffff:') ? raw.slice(7) : raw;
  return { address, trusted: address !== '' && trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4') };
}

function blockListOf(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

function readHead(req: IncomingMessage, client: Client, newId: () => string): RequestHead {
  const raw = req.rawHeaders;
  const headers: string[] = [];
  const named = namedByConnection(raw);
  const told: Record<string, string> = {};
  let host: string | undefined;
  let chunked = false;
  let length = 0;
  let trailers = false;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    const lower = name.toLowerCase();
    switch (lower) {
      case 'host':
        if (host !== undefined) throw invalid('more than one Host field');
        host = value;
        continue;
      case 'transfer-encoding':
        // RFC 9112 §6.1: HTTP/1.0 does not know the field, so the framing is in doubt.
        if (req.httpVersionMinor === 0) throw invalid('Transfer-Encoding in HTTP/1.0');
        // Another coding would reach the app without its name.
        if (chunked || value.trim().toLowerCase() !== 'chunked') {
          throw invalid('a transfer coding other than chunked');
        }
        chunked = true;
        continue;
      case 'content-length':
        length = Number(value);
        break;
      case 'expect':
        // Answered by the router when the call goes to the app; RFC 9110 §10.1.1.
        if (value.toLowerCase() !== '100-continue') throw invalid('an unknown expectation');
        continue;
      case 'te':
        // The only one that says something about the app's answer rather than about this connection.
        if (/(^|,)\s*trailers\s*(;|,|$)/i.test(value)) headers.push(name, 'trailers');
        continue;
      case 'trailer':
        trailers = true;
        break;
      default:
        break;
    }
    if (hopByHop.has(lower) || named?.has(lower) === true) continue;
    if (forwardingFields.has(lower)) {
      if (client.trusted) told[lower] = told[lower] === undefined ? value : `${told[lower]}, ${value}`;
      continue;
    }
    // CGI-like apps read `_` as `-`: with it an untrusted client could say the same thing by another name.
    if (lower.includes('_') && forwardingFields.has(lower.replaceAll('_', '-'))) continue;
    headers.push(name, value);
  }
  if (chunked && length > 0) throw invalid('both Transfer-Encoding and Content-Length');
  // RFC 9112 §3.2.
  if (host === undefined && req.httpVersionMinor > 0) throw invalid('no Host field');
  const target = targetOf(req.url ?? '', host ?? '');
  const fault = pathFault(target.path);
  if (fault !== undefined) throw invalid(fault);
  headers.unshift('Host', target.host);
  const requestId = requestIdOf(told, newId);
  addForwarded(headers, client, told, target.host, requestId);
  return {
    requestId,
    ...target,
    headers,
    outerPrefix: told['x-forwarded-prefix'] ?? '',
    hasBody: chunked || length > 0,
    announcesTrailers: trailers && chunked,
  };
}

/** Fields that the Connection field names are of this connection only, RFC 9110 §7.6.1. */
function namedByConnection(raw: readonly string[]): ReadonlySet<string> | undefined {
  let named: Set<string> | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.length !== 10 || raw[i]?.toLowerCase() !== 'connection') continue;
    const value = (raw[i + 1] as string).toLowerCase();
    if (value === 'keep-alive' || value === 'close') continue;
    named ??= new Set();
    for (const option of value.split(',')) {
      const name = option.trim();
      if (!neverNamed.has(name)) named.add(name);
    }
  }
  return named;
}

/** Origin-form, or absolute-form, whose authority stands instead of Host: RFC 9112 §3.2.2. */
function targetOf(url: string, host: string): { host: string; path: string } {
  if (!hostPattern.test(host)) throw invalid('the Host field is not a host');
  if (url.startsWith('/')) return { host, path: url };
  const absolute = /^https?:\/\/([^/?#@]+)([/?][^#]*)?$/i.exec(url);
  const authority = absolute?.[1];
  if (authority === undefined || !hostPattern.test(authority)) throw invalid('the request target has no path');
  const rest = absolute?.[2] ?? '';
  return { host: authority, path: rest.startsWith('/') ? rest : `/${rest}` };
}

const hostPattern = /^[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]*$/;

function requestIdOf(told: Readonly<Record<string, string>>, newId: () => string): string {
  const id = told['x-request-id'];
  return id !== undefined && /^[\x21-\x7e]{1,128}$/.test(id) ? id : newId();
}

function addForwarded(
  headers: string[],
  client: Client,
  told: Readonly<Record<string, string>>,
  host: string,
  requestId: string,
): void {
  const chain = told['x-forwarded-for'];
  const proto = told['x-forwarded-proto'] ?? 'http';
  // RFC 7239 §6: an IPv6 address is in brackets, and then in quotes, as is a host with a port.
  const node = client.address.includes(':') ? `"[${client.address}]"` : client.address || 'unknown';
  const own = `for=${node};host="${host}";proto=http`;
  const forwarded = told['forwarded'];
  headers.push(
    'X-Forwarded-For',
    chain === undefined ? client.address : `${chain}, ${client.address}`,
    'X-Forwarded-Proto',
    proto,
    'X-Forwarded-Host',
    told['x-forwarded-host'] ?? host,
    'Forwarded',
    forwarded === undefined ? own : `${forwarded}, ${own}`,
    'X-Request-Id',
    requestId,
  );
  const port = told['x-forwarded-port'];
  if (port !== undefined) headers.push('X-Forwarded-Port', port);
}

/** Fields as they came, names and values by turns; buffers are Latin-1. */
export type RawFields = readonly (string | Buffer)[];

/** The fields of the app's answer, for the client. */
export function answerHeaders(
  raw: RawFields,
  options: { readonly dropTrailer: boolean; readonly keepUpgrade?: boolean },
): string[] {
  const headers: string[] = [];
  const fields: string[] = raw.map((item) => (typeof item === 'string' ? item : item.toString('latin1')));
  const named = namedByConnection(fields);
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const lower = name.toLowerCase();
    if (options.keepUpgrade === true && (lower === 'upgrade' || lower === 'connection')) {
      headers.push(name, fields[i + 1] as string);
      continue;
    }
    if (hopByHop.has(lower) || named?.has(lower) === true) continue;
    if (lower === 'trailer' && options.dropTrailer) continue;
    headers.push(name, fields[i + 1] as string);
  }
  return headers;
}

/** Trailer fields as pairs; RFC 9110 §6.5.1 keeps what delimits or routes a message out of them. */
export function trailerPairs(raw: RawFields): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = String(raw[i]);
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || neverNamed.has(lower) || forwardingFields.has(lower) || lower === 'trailer') continue;
    const value = raw[i + 1] ?? '';
    pairs.push([name, typeof value === 'string' ? value : value.toString('latin1')]);
  }
  return pairs;
}

function invalid(what: string): AppError {
  return new AppError('request_invalid', `The request is refused: ${what}.`);
}
