/**
 * What trusted proxies say of the client before them, as far as they can know it. A chain of addresses is believed from its end:
 * each trusted proxy has added the address that it saw, so the last one that is no trusted proxy's is the client's, and what
 * stands before that is what this client says of itself. That, and what is malformed, does not get to the app.
 */
import { isIP } from 'node:net';
import { isHost } from './host.ts';
import type { PeerIdentity } from './peer-identity.ts';

/** As collected from the head, by lower-case name, several fields of a name joined by commas. */
export type Told = ReadonlyMap<string, string>;

/** More of them is no chain of proxies. */
const maxHops = 32;

interface Hop {
  /** As in X-Forwarded-For. */
  readonly node: string;
  readonly proto?: string | undefined;
  readonly host?: string | undefined;
}

interface Chain {
  /** The client first. */
  readonly hops: readonly Hop[];
  /** How many stood before those. */
  readonly cut: number;
}

/** The fields for the app, each with its line end. @param host that the call is for. */
export function forwardedFields(peer: PeerIdentity, host: string, told: Told): string {
  const chain = believed(told.get('x-forwarded-for')?.split(',').map(plainHop), peer);
  const elements = believed(splitElements(told.get('forwarded')).map(elementHop), peer);
  const first = elements.hops[0];
  const proto = pick(told.get('x-forwarded-proto'), chain, isProto) ?? first?.proto ?? peer.scheme;
  const outerHost = pick(told.get('x-forwarded-host'), chain, isNamedHost) ?? first?.host ?? host;
  const port = pick(told.get('x-forwarded-port'), chain, isPort);
  // RFC 7239 §7.4: one form is told by the other where a proxy knows that alone.
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

/** Who called, as far as is known. @param told value of X-Forwarded-For, if the client is trusted. */
export function callerAddress(peer: PeerIdentity, told: string | undefined): string {
  if (told === undefined || !peer.trusted) return peer.address;
  const [hop] = believed(told.split(',').map(plainHop), peer).hops;
  return (hop === undefined ? undefined : addressOf(hop.node)) ?? peer.address;
}

/** A prefix that a trusted proxy has taken off, as it may stand before ours; `''` where it is none. */
export function outerPrefixOf(value: string): string {
  return /^(?:\/[A-Za-z0-9\-._~%!$&'()*+;=:@]+)+\/?$/.test(value) && value.length <= maxPrefixLength
    ? value.replace(/\/$/, '')
    : '';
}

const maxPrefixLength = 512;

/** W3C Trace Context, §3.2.2: what is malformed begins no trace of ours, and its tracestate means nothing. */
export function isTraceparent(value: string): boolean {
  const [, version, trace = '', parent = '', rest = ''] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/.exec(value) ?? [];
  if (version === undefined || version === 'ff' || /^0+$/.test(trace) || /^0+$/.test(parent)) return false;
  return version !== '00' || rest === '';
}

/** From the end up to the first that no trusted proxy is, and without those that are malformed or before such a one. */
function believed(list: readonly (Hop | undefined)[] | undefined, peer: PeerIdentity): Chain {
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

/** An element of X-Forwarded-For. */
function plainHop(text: string): Hop | undefined {
  const node = text.trim();
  return isNode(node) ? { node } : undefined;
}

const token = "[A-Za-z0-9!#$%&'*+\\-.^_`|~]+";
const pair = new RegExp(`^(${token})=(?:(${token})|"([^"\\\\]*)")$`);

/** An element of Forwarded, RFC 7239 §4; backslashes have no use in what is told. */
function elementHop(text: string): Hop | undefined {
  let node: string | undefined;
  let proto: string | undefined;
  let host: string | undefined;
  for (const part of text.split(';')) {
    const [, name, plain, quoted = ''] = pair.exec(part.trim()) ?? [];
    const value = plain ?? quoted;
    switch (name?.toLowerCase()) {
      case undefined:
        return undefined;
      case 'for':
        if (node !== undefined || !isNode(value)) return undefined;
        node = value;
        break;
      case 'proto':
        if (proto !== undefined || !isProto(value)) return undefined;
        proto = value;
        break;
      case 'host':
        if (host !== undefined || !isNamedHost(value)) return undefined;
        host = value;
        break;
      default:
    }
  }
  return node === undefined ? undefined : { node, proto, host };
}

/** At commas that are in no quotes. */
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
  // Where a quote is left open, nobody knows where the last elements begin.
  return quoted ? [] : [...elements, text.slice(from)];
}

function elementOf({ node, proto, host }: Hop): string {
  const bare = isIP(node) === 6 ? `[${node}]` : node;
  const plain = /^[A-Za-z0-9._-]+$/.test(bare) ? bare : `"${bare}"`;
  return `for=${plain}${host === undefined ? '' : `;host="${host}"`}${proto === undefined ? '' : `;proto=${proto}`}`;
}

/** An address, perhaps with a port, or what stands for one that is not told, RFC 7239 §6. */
function isNode(text: string): boolean {
  return addressOf(text) !== undefined || /^(?:unknown|_[A-Za-z0-9._-]+)$/.test(text);
}

/** The address of a node alone. */
function addressOf(node: string): string | undefined {
  if (node.length > 64 || node.includes('%')) return undefined;
  const [, v6, v4] = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::\d{1,5})?$/.exec(node) ?? [];
  const address = v6 ?? v4 ?? node;
  const family = isIP(address);
  if (family === 0 || (v6 !== undefined && family !== 6)) return undefined;
  return /^::ffff:\d/i.test(address) ? address.slice(7) : address;
}

/**
 * One value of a list: the client's where each proxy has added one as it has to X-Forwarded-For, else the last, which the
 * nearest proxy has said itself.
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
