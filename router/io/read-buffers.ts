/** Buffers that connections to apps read into: shared ones, whose bytes are copied at once, and a few for connections that read much. */

/** An answer of 64 KiB with its head fits into one read. */
const bufferBytes = 81_920;
/** 10 MiB in all. */
const maxOwned = 128;

/** Under memory pressure, read at most this much before pausing. */
export const smallBytes = 8_192;

export class ReadBuffers {
  readonly shared = Buffer.allocUnsafeSlow(bufferBytes);
  readonly small = Buffer.allocUnsafeSlow(smallBytes);
  #owned = 0;

  isShared(buffer: Buffer): boolean {
    return buffer === this.shared || buffer === this.small;
  }

  /** @returns a buffer for one connection; undefined when too many have one. */
  own(): Buffer | undefined {
    if (this.#owned >= maxOwned) return undefined;
    this.#owned += 1;
    return Buffer.allocUnsafeSlow(bufferBytes);
  }

  /** @returns a replacement for an owned buffer that a write still needs. */
  another(): Buffer {
    return Buffer.allocUnsafeSlow(bufferBytes);
  }

  giveBack(): void {
    this.#owned -= 1;
  }
}
