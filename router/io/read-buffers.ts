/** What connections to apps read into: one buffer for all, whose bytes are copied at once, and some for those that read much. */

/** Of one read: an answer of 64 KiB with its head is one. */
const bufferBytes = 81_920;
/** Together 10 MiB. */
const maxOwned = 128;

/** Where much waits for slow readers: what is read before a stream is held up is no more. */
export const smallBytes = 8_192;

export class ReadBuffers {
  readonly shared = Buffer.allocUnsafeSlow(bufferBytes);
  readonly small = Buffer.allocUnsafeSlow(smallBytes);
  #owned = 0;

  isShared(buffer: Buffer): boolean {
    return buffer === this.shared || buffer === this.small;
  }

  /** @returns undefined where enough have one. */
  own(): Buffer | undefined {
    if (this.#owned >= maxOwned) return undefined;
    this.#owned += 1;
    return Buffer.allocUnsafeSlow(bufferBytes);
  }

  /** Instead of an owned one that somebody else still needs. */
  another(): Buffer {
    return Buffer.allocUnsafeSlow(bufferBytes);
  }

  giveBack(): void {
    this.#owned -= 1;
  }
}
