/**
 * What trusted proxies report about the client before them, as far as they can know it. A chain of addresses is trusted from its
 * end: each trusted proxy has added the address that it saw, so the last address that is not a trusted proxy is the client, and
 * what precedes it is what this client claims. Claims and malformed elements are not forwarded to the app.
 */
import { isIP } from 'node:net';
import { isHost } from './host.ts';
import type { PeerIdentity } from './peer-identity.ts';

/** Values by lower-case name, several fields of one name joined by commas. */
export type ForwardingFields = ReadonlyMap<string, string>;

/** No real chain of proxies is longer. */
const maxHops = 32;

interface Hop {
  /** An element of X-Forwarded-For. */
  readonly node: string;
  readonly proto?: string | undefined;
  readonly host?: string | undefined;
}

interface Chain {
  /** The trusted part, with the client first. */
  readonly hops: readonly Hop[];
  /** Number of elements before the trusted part. */
  readonly cut: number;
}

/** @param host the host of the request. @returns the field lines for the app. */
export function forwardedFields(peer: PeerIdentity, host: string, fields: ForwardingFields): string {
  const chain = trustedPart(fields.get('x-forwarded-for')?.split(',').map(plainHop), peer);
  const elements = trustedPart(splitElements(fields.get('forwarded')).map(elementHop), peer);
  const first = elements.hops[0];
  const proto = pick(fields.get('x-forwarded-proto'), chain, isProto) ?? first?.proto ?? peer.scheme;
  const outerHost = pick(fields.get('x-forwarded-host'), chain, isNamedHost) ?? first?.host ?? host;
  const port = pick(fields.get('x-forwarded-port'), chain, isPort);
  // RFC 7239 §7.4: each form is derived from the other where a proxy sent that alone.
  const hops = chain.hops.length > 0 ? chain.hops : elements.hops;
  const others =
    elements.hops.length > 0
      ? elements.hops
      : hops.map((hop, index) => (index === 0 ? { ...hop, proto, host: outerHost } : hop));
  const plain = hops.filter(({ node }) => !node.startsWith('_'));
  return (
    `X-Forwarded-For: ${[...plain.map(({ node }) => node), peer.address].join(', ')}\r\n` +
    `X-Forwarded-Proto: ${proto}\r\n` +
    `X-Forwarded-Host: ${outerHost}\r\n` +
    `Forwarded: ${[...others.map(elementOf), peer.forwardedElement(host)].join(', ')}\r\n` +
    (port === undefined ? '' : `X-Forwarded-Port: ${port}\r\n`)
  );
}

/** @param forwardedFor value of X-Forwarded-For. @returns the address of the client, as far as trusted proxies know it. */
export function clientAddress(peer: PeerIdentity, forwardedFor: string | undefined): string {
  if (forwardedFor === undefined || !peer.trusted) return peer.address;
  const [hop] = trustedPart(forwardedFor.split(',').map(plainHop), peer).hops;
  return (hop === undefined ? undefined : addressOf(hop.node)) ?? peer.address;
}

/** @param value of X-Forwarded-Prefix. @returns the prefix that a proxy has stripped; `''` if it is not a valid path. */
export function outerPrefixOf(value: string): string {
  return /^(?:\/[A-Za-z0-9\-._~%!$&'()*+;=:@]+)+\/?$/.test(value) && value.length <= maxPrefixLength
    ? value.replace(/\/$/, '')
    : '';
}

const maxPrefixLength = 512;

/** W3C Trace Context, §3.2.2: a malformed traceparent is ignored together with its tracestate. */
export function isTraceparent(value: string): boolean {
  const [, version, trace = '', parent = '', rest = ''] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/.exec(value) ?? [];
  if (version === undefined || version === 'ff' || /^0+$/.test(trace) || /^0+$/.test(parent)) return false;
  return version !== '00' || rest === '';
}

/** The elements from the end to the first one that is not a trusted proxy, stopping at a malformed one. */
function trustedPart(list: readonly (Hop | undefined)[] | undefined, peer: PeerIdentity): Chain {
  if (list === undefined) return { hops: [], cut: 0 };
  let from = list.length;
  while (from > 0 && list.length - from < maxHops) {
    const hop = list[from - 1];
    if (hop === undefined) break;
    from -= 1;
    const address = addressOf(hop.node);
    if (address === undefined || !peer.trusts(address)) break;
  }
  return { hops: list.slice(from) as Hop[], cut: from };
}

/** Parses an element of X-Forwarded-For. */
function plainHop(text: string): Hop | undefined {
  const node = text.trim();
  return isNode(node) ? { node } : undefined;
}

const token = "[A-Za-z0-9!#$%&'*+\\-.^_`|~]+";
const pair = new RegExp(`^(${token})=(?:(${token})|"([^"\\\\]*)")$`);

/** The parameters of an element that are looked at, and what their values must be. */
const parameters: ReadonlyMap<string, (value: string) => boolean> = new Map([
  ['for', isNode],
  ['proto', isProto],
  ['host', isNamedHost],
]);

/** Parses an element of Forwarded, RFC 7239 §4. Values have no use for backslashes. */
function elementHop(text: string): Hop | undefined {
  const found = new Map<string, string>();
  for (const part of text.split(';')) {
    const [, given, plain, quoted = ''] = pair.exec(part.trim()) ?? [];
    if (given === undefined) return undefined;
    const name = given.toLowerCase();
    const value = plain ?? quoted;
    const fits = parameters.get(name);
    if (fits === undefined) continue;
    if (found.has(name) || !fits(value)) return undefined;
    found.set(name, value);
  }
  const node = found.get('for');
  return node === undefined ? undefined : { node, proto: found.get('proto'), host: found.get('host') };
}

/** Splits at commas outside of quotes. */
function splitElements(text: string | undefined): string[] {
  if (text === undefined) return [];
  const elements: string[] = [];
  let quoted = false;
  let from = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '"') quoted = !quoted;
    else if (char === ',' && !quoted) {
      elements.push(text.slice(from, at));
      from = at + 1;
    }
  }
  // After an open quote, the beginnings of the last elements are unknown.
  return quoted ? [] : [...elements, text.slice(from)];
}

function elementOf({ node, proto, host }: Hop): string {
  const bare = isIP(node) === 6 ? `[${node}]` : node;
  const plain = /^[A-Za-z0-9._-]+$/.test(bare) ? bare : `"${bare}"`;
  return `for=${plain}${host === undefined ? '' : `;host="${host}"`}${proto === undefined ? '' : `;proto=${proto}`}`;
}

/** An address, perhaps with a port, or an obfuscated identifier, RFC 7239 §6. */
function isNode(text: string): boolean {
  return addressOf(text) !== undefined || /^(?:unknown|_[A-Za-z0-9._-]+)$/.test(text);
}

/** @returns the address of a node, without its port. */
function addressOf(node: string): string | undefined {
  if (node.length > 64 || node.includes('%')) return undefined;
  const [, v6, v4] = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::\d{1,5})?$/.exec(node) ?? [];
  const address = v6 ?? v4 ?? node;
  const family = isIP(address);
  if (family === 0 || (v6 !== undefined && family !== 6)) return undefined;
  return /^::ffff:\d/i.test(address) ? address.slice(7) : address;
}

/**
 * Picks one value of a list: the client's if each proxy has added a value as it has to X-Forwarded-For; otherwise the last one,
 * which comes from the nearest proxy.
 */
function pick(text: string | undefined, chain: Chain, fits: (value: string) => boolean): string | undefined {
  if (text === undefined) return undefined;
  const list = text.split(',').map((value) => value.trim());
  const parallel = chain.hops.length > 0 && list.length === chain.cut + chain.hops.length;
  const value = list[parallel ? chain.cut : list.length - 1] ?? '';
  return fits(value) ? value : undefined;
}

function isProto(value: string): boolean {
  return /^(?:https?|wss?)$/i.test(value);
}

function isNamedHost(value: string): boolean {
  return value !== '' && value.length <= 255 && isHost(value);
}

function isPort(value: string): boolean {
  return /^[1-9]\d{0,4}$/.test(value) && Number(value) <= 65_535;
}
