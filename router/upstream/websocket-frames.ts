/**
 * Finds where the frames of a WebSocket end (RFC 6455 §5.2) in the bytes of one direction, because the router may insert a frame
 * only between two others. It skips payloads, keeps nothing and checks nothing.
 */
const closeOpcode = 8;

/** Close with 1001: the endpoint goes away, such as a server that shuts down (§7.4.1). A server's frames are not masked. */
export const goingAwayFrame = Buffer.from([0x80 | closeOpcode, 2, 1001 >> 8, 1001 & 255]);

export class WebSocketFrames {
  /** Bytes read of an incomplete frame head; 0 between two frames and in a payload. */
  #headBytes = 0;
  /** Bytes of the extended payload length that are missing. */
  #lengthBytes = 0;
  #length = 0;
  #maskBytes = 0;
  /** Bytes of the frame behind its length that are still to come. */
  #left = 0;
  #closed = false;

  /** The sender of these bytes has sent a Close frame, which nothing may follow (§5.5.1). */
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
