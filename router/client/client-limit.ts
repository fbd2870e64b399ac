/**
 * Bounds the connections of one client, so that one that opens many leaves room for the others. A client is an IPv4 address, or
 * the 64 bits of an IPv6 address that a network hands out as one. Trusted proxies stand for many clients and have no limit.
 */
import { isIPv6, type BlockList, type Socket } from 'node:net';

export class ClientLimit {
  readonly #max: number;
  readonly #exempt: BlockList;
  readonly #open = new Map<string, number>();

  /** @param max 0 for no limit. @param exempt addresses without a limit. */
  constructor(max: number, exempt: BlockList) {
    this.#max = max;
    this.#exempt = exempt;
  }

  /** Number of clients that have a connection; 0 without a limit. */
  get clients(): number {
    return this.#open.size;
  }

  /** Counts the socket until it is closed. @returns false for one too many, which is not counted. */
  admits(socket: Socket): boolean {
    const address = addressOf(socket);
    if (this.#max === 0 || address === undefined) return true;
    if (this.#exempt.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')) return true;
    const client = clientOf(address);
    const open = this.#open.get(client) ?? 0;
    if (open >= this.#max) return false;
    this.#open.set(client, open + 1);
    socket.once('close', () => this.#closed(client));
    return true;
  }

  #closed(client: string): void {
    const open = this.#open.get(client) ?? 0;
    if (open > 1) this.#open.set(client, open - 1);
    else this.#open.delete(client);
  }
}

/** @returns the IP address of the peer; undefined when the socket is closed already or is a Unix one. */
export function addressOf({ remoteAddress }: Socket): string | undefined {
  return remoteAddress?.startsWith('::ffff:') === true ? remoteAddress.slice(7) : remoteAddress;
}

/** @param address as the system writes it: IPv6 in lower case, with one `::` at most. */
export function clientOf(address: string): string {
  if (!address.includes(':')) return address;
  const [before = '', behind] = (address.split('%', 1)[0] ?? '').split('::');
  const head = before === '' ? [] : before.split(':');
  const tail = behind === undefined || behind === '' ? [] : behind.split(':');
  const missing = behind === undefined ? 0 : 8 - head.length - tail.length;
  return `${[...head, ...Array.from({ length: missing }, () => '0'), ...tail].slice(0, 4).join(':')}::/64`;
}
