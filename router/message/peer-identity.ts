/** The peer of a client connection: its address, whether it is a trusted proxy, and what apps are told about it. */
import { BlockList, isIPv6, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { AppError } from '../../shared/errors.ts';
import type { ClientFields } from './client-fields.ts';
import { isHost, routeHost } from './host.ts';

/** What the router believes of its clients. */
export interface ClientTrust {
  /** Addresses whose forwarding fields are believed. */
  readonly proxies: BlockList;
  /** What others may not send. */
  readonly fields: ClientFields;
}

/** @param entries addresses and CIDRs of trusted proxies. */
export function trustedProxies(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

export class PeerIdentity {
  readonly address: string;
  readonly scheme: 'http' | 'https';
  readonly speaks: 'HTTP/1' | 'HTTP/2';
  readonly trusted: boolean;
  readonly fields: ClientFields;
  readonly #proxies: BlockList;
  /** Host of the last call: most calls of a connection have the same. */
  #host: string | undefined;
  #hostBytes = Buffer.alloc(0);
  #routeHost = '';
  #forwarded: Buffer | undefined;

  constructor(socket: Socket, trust: ClientTrust, speaks: 'HTTP/1' | 'HTTP/2' = 'HTTP/1') {
    this.speaks = speaks;
    const raw = socket.remoteAddress ?? '';
    this.address = raw.startsWith('::ffff:') ? raw.slice(7) : raw;
    this.scheme = (socket as Partial<TLSSocket>).encrypted === true ? 'https' : 'http';
    this.#proxies = trust.proxies;
    this.fields = trust.fields;
    this.trusted = this.address !== '' && this.trusts(this.address);
  }

  /** Whether an IP address belongs to a trusted proxy. */
  trusts(address: string): boolean {
    return this.#proxies.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }

  /** @returns the host as routes name it. @throws AppError request_invalid for a text that is not a host. */
  routeHost(host: string): string {
    if (host !== this.#host) {
      if (!isHost(host)) throw new AppError('request_invalid', 'The request is refused: the Host field is not a host.');
      this.#host = host;
      this.#hostBytes = Buffer.from(host, 'latin1');
      this.#routeHost = routeHost(host);
      this.#forwarded = undefined;
    }
    return this.#routeHost;
  }

  /** @returns the text in this range; the same string as before where the host has not changed. */
  hostOf(bytes: Buffer, start: number, end: number): string {
    const last = this.#hostBytes;
    if (this.#host !== undefined && last.length === end - start) {
      let at = 0;
      while (at < last.length && last[at] === bytes[start + at]) at += 1;
      if (at === last.length) return this.#host;
    }
    return bytes.toString('latin1', start, end);
  }

  /** The forwarding fields for the app, for a client that asked for `host`. */
  forwarded(host: string): Buffer {
    if (host !== this.#host || this.#forwarded === undefined) {
      this.routeHost(host);
      this.#forwarded = Buffer.from(
        `X-Forwarded-For: ${this.address}\r\nX-Forwarded-Proto: ${this.scheme}\r\nX-Forwarded-Host: ${host}\r\nForwarded: ${this.forwardedElement(host)}\r\n`,
        'latin1',
      );
    }
    return this.#forwarded;
  }

  /** An element of Forwarded. RFC 7239 §6: an IPv6 address is in brackets and quotes, and a host with a port is in quotes. */
  forwardedElement(host: string): string {
    const node = this.address.includes(':') ? `"[${this.address}]"` : this.address || 'unknown';
    return `for=${node};host="${host}";proto=${this.scheme}`;
  }
}
