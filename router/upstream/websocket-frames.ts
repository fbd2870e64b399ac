/**
 * Where the frames of a WebSocket end (RFC 6455 §5.2), in the bytes of one direction as they pass by: a frame of ours may only
 * stand between two others. Payloads are skipped, nothing is kept, nothing is checked.
 */
const closeOpcode = 8;

/** Close, 1001: the endpoint is going away, such as a server that shuts down (§7.4.1). Of a server, so it is not masked. */
export const goingAwayFrame = Buffer.from([0x80 | closeOpcode, 2, 1001 >> 8, 1001 & 255]);

export class WebSocketFrames {
  /** Bytes of the head that is being read, until its lengths are known; 0: between two frames, or in a payload. */
  #headBytes = 0;
  /** Further bytes of the head that make up the length. */
  #lengthBytes = 0;
  #length = 0;
  #maskBytes = 0;
  /** Of the frame, still to come. */
  #left = 0;
  #closed = false;

  /** The side whose bytes these are has sent its Close: nothing may follow it (§5.5.1). */
  get closed(): boolean {
    return this.#closed;
  }

  get between(): boolean {
    return this.#left === 0 && this.#headBytes === 0;
  }

  read(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, end - at);
        this.#left -= taken;
        at += taken;
      } else this.#readHead(bytes[at++] as number);
    }
  }

  #readHead(byte: number): void {
    this.#headBytes += 1;
    if (this.#headBytes === 1) {
      if ((byte & 15) === closeOpcode) this.#closed = true;
      return;
    }
    if (this.#headBytes === 2) {
      const short = byte & 127;
      this.#maskBytes = byte > 127 ? 4 : 0;
      this.#lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
      this.#length = this.#lengthBytes === 0 ? short : 0;
    } else {
      this.#lengthBytes -= 1;
      this.#length = this.#length * 256 + byte;
    }
    if (this.#lengthBytes > 0) return;
    this.#headBytes = 0;
    this.#left = this.#length + this.#maskBytes;
  }
}
