/**
 * Composes messages before they are written. One writer serves all connections, because each message is written before the next
 * one begins. If the kernel does not take all of a message at once, the pending write keeps the slab in which the message lies.
 * So slabs are small and of several sizes, no two pending messages share one, and all of it counts as held (`heldBytes`).
 */
import type { Writable } from 'node:stream';
import type { SocketIo } from '../io/socket-io.ts';

/** Nearly all messages fit into the first size; the last one has room for a head and one read of a body. One slab of each size is kept. */
const slabSizes = [4_096, 8_192, 16_384, 32_768, 65_536, 98_304];
/** Shorter texts are copied faster in a loop than by a call. */
const shortBytes = 64;
const maxBeginning = 2_048;
const hexDigits = Uint8Array.from(Buffer.from('0123456789abcdef'));

export class HeadWriter {
  readonly #io: SocketIo;
  readonly #slabs: Buffer[] = slabSizes.map((bytes) => Buffer.allocUnsafeSlow(bytes));
  #slab: Buffer = this.#slabs[0] as Buffer;
  /** Views of the beginning of the first slab, by length: most messages are short, and of few lengths. */
  #beginnings: (Buffer | undefined)[] = [];
  #end = 0;

  constructor(io: SocketIo) {
    this.#io = io;
  }

  get length(): number {
    return this.#end;
  }

  latin1(text: string): void {
    const { length } = text;
    if (this.#end + length > this.#slab.length) this.#grow(length);
    const slab = this.#slab;
    if (length < shortBytes) {
      let end = this.#end;
      for (let at = 0; at < length; at += 1) slab[end++] = text.charCodeAt(at);
      this.#end = end;
    } else this.#end += slab.write(text, this.#end, length, 'latin1');
  }

  utf8(text: string): void {
    const length = Buffer.byteLength(text);
    if (this.#end + length > this.#slab.length) this.#grow(length);
    this.#end += this.#slab.write(text, this.#end, length, 'utf8');
  }

  range(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.#end + length > this.#slab.length) this.#grow(length);
    if (length < shortBytes) {
      const slab = this.#slab;
      let to = this.#end;
      for (let at = start; at < end; at += 1) slab[to++] = bytes[at] as number;
    } else bytes.copy(this.#slab, this.#end, start, end);
    this.#end += length;
  }

  /** Appends bytes as hexadecimal digits. */
  hex(bytes: Buffer, start: number, end: number): void {
    const length = 2 * (end - start);
    if (this.#end + length > this.#slab.length) this.#grow(length);
    const slab = this.#slab;
    let to = this.#end;
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at] as number;
      slab[to] = hexDigits[byte >> 4] as number;
      slab[to + 1] = hexDigits[byte & 15] as number;
      to += 2;
    }
    this.#end = to;
  }

  /** Appends 16 bytes as a UUID. */
  uuid(bytes: Buffer, at: number): void {
    this.hex(bytes, at, at + 4);
    this.latin1('-');
    this.hex(bytes, at + 4, at + 6);
    this.latin1('-');
    this.hex(bytes, at + 6, at + 8);
    this.latin1('-');
    this.hex(bytes, at + 8, at + 10);
    this.latin1('-');
    this.hex(bytes, at + 10, at + 16);
  }

  /** Appends a chunk of a body, RFC 9112 §7.1. */
  chunk(bytes: Buffer, start: number, end: number): void {
    this.latin1((end - start).toString(16));
    this.latin1('\r\n');
    this.range(bytes, start, end);
    this.latin1('\r\n');
  }

  discard(): void {
    this.#end = 0;
    this.#slab = this.#slabs[0] as Buffer;
  }

  /** Returns a copy of what is composed instead of sending it. */
  take(): Buffer {
    const own = Buffer.from(this.#slab.subarray(0, this.#end));
    this.discard();
    return own;
  }

  /** Sends what is composed in one write. */
  send(socket: Writable): void {
    if (this.#end > 0) this.#write(socket, undefined);
  }

  /** Sends what is composed and then `body`, which is not copied: while it waits it must stay as it is. */
  sendBefore(socket: Writable, body: Buffer): void {
    if (this.#end > 0) this.#write(socket, body);
    else this.#io.write(socket, undefined, body);
  }

  #write(socket: Writable, body: Buffer | undefined): void {
    if (!this.#io.write(socket, this.#composed(), body)) this.#leaveSlab();
    this.#end = 0;
    this.#slab = this.#slabs[0] as Buffer;
  }

  #composed(): Buffer {
    const end = this.#end;
    if (end > maxBeginning) return this.#slab.subarray(0, end);
    return (this.#beginnings[end] ??= this.#slab.subarray(0, end));
  }

  /** Leaves the slab to a write that is not complete. */
  #leaveSlab(): void {
    const index = this.#slabs.indexOf(this.#slab);
    if (index >= 0) this.#slabs[index] = Buffer.allocUnsafeSlow(this.#slab.length);
    if (index === 0) this.#beginnings = [];
  }

  #grow(more: number): void {
    const least = this.#end + more;
    // A message that is larger than all slabs gets one for itself.
    const slab = this.#slabs.find(({ length }) => length >= least) ?? Buffer.allocUnsafeSlow(least + (least >> 1));
    this.#slab.copy(slab, 0, 0, this.#end);
    this.#slab = slab;
  }
}
