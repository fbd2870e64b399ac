/**
 * Where messages are put together before they are written: one place for all connections, since each is written before the
 * next one begins. Bytes that the kernel did not take at once are left where they are, and the next message goes behind them.
 */
import type { Writable } from 'node:stream';
import { unsentBytes, writeDirectly } from '../direct-io.ts';

/** A slab is left when less than this is free: a head at its limit and one read of a body fit without a second look. */
const roomBytes = 131_072;
const slabBytes = 2 * roomBytes;
/** Shorter ones are copied faster by hand than by a call. */
const shortBytes = 64;
const maxBeginning = 2_048;
const hexDigits = Uint8Array.from(Buffer.from('0123456789abcdef'));

export class HeadWriter {
  #slab = Buffer.allocUnsafeSlow(slabBytes);
  /** Its beginnings, by length: most messages are short, and of few lengths. */
  #beginnings: (Buffer | undefined)[] = [];
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
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

  /** Bytes as hexadecimal digits. */
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

  /** 16 bytes as a UUID. */
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

  /** A chunk of a body, RFC 9112 §7.1. */
  chunk(bytes: Buffer, start: number, end: number): void {
    this.latin1((end - start).toString(16));
    this.latin1('\r\n');
    this.range(bytes, start, end);
    this.latin1('\r\n');
  }

  /** Nothing of it is written. */
  discard(): void {
    this.#end = this.#start;
  }

  /** What is there, in bytes of its own, instead of sending it. */
  take(): Buffer {
    const own = Buffer.from(this.#slab.subarray(this.#start, this.#end));
    this.#end = this.#start;
    return own;
  }

  /** Gives what is there to the socket, in one write. */
  send(socket: Writable): void {
    if (this.#end === this.#start) return;
    if (unsentBytes(socket) > 0) {
      // It waits behind others there: not in here.
      const own = Buffer.from(this.#slab.subarray(this.#start, this.#end));
      this.#end = this.#start;
      socket.write(own);
      return;
    }
    if (writeDirectly(socket, this.#composed())) this.#end = this.#start;
    else this.#leave();
  }

  /** The same, with `body` behind it from where that is; what of it waits must stay as it is. */
  sendBefore(socket: Writable, body: Buffer): void {
    if (this.#end === this.#start || unsentBytes(socket) > 0) {
      this.send(socket);
      writeDirectly(socket, body);
    } else if (writeDirectly(socket, this.#slab.subarray(this.#start, this.#end), body)) this.#end = this.#start;
    else this.#leave();
  }

  #composed(): Buffer {
    const end = this.#end;
    if (this.#start > 0 || end > maxBeginning) return this.#slab.subarray(this.#start, end);
    return (this.#beginnings[end] ??= this.#slab.subarray(0, end));
  }

  /** What was composed belongs to a write that is not over. */
  #leave(): void {
    this.#start = this.#end;
    if (this.#slab.length - this.#start >= roomBytes) return;
    this.#slab = Buffer.allocUnsafeSlow(slabBytes);
    this.#beginnings = [];
    this.#start = 0;
    this.#end = 0;
  }

  #grow(more: number): void {
    const length = this.#end - this.#start;
    const slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, 2 * (length + more)));
    this.#slab.copy(slab, 0, this.#start, this.#end);
    this.#slab = slab;
    this.#beginnings = [];
    this.#start = 0;
    this.#end = length;
  }
}
