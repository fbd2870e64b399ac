/**
 * The body of a call on its way to the app. Reads from the client no faster than the app takes it, begins only when it
 * is asked for (so that nothing of a held call is read), and can be given up without harm to the client's connection,
 * by which the answer still has to go.
 */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Clock } from '../shared/clock.ts';

export interface RequestBodyOptions {
  readonly clock: Clock;
  /** Time the client has to send all of it; 0 is no limit. */
  readonly timeoutMs: number;
  readonly onTimeout: () => void;
  readonly onBytes: (count: number) => void;
}

export class RequestBody extends Readable {
  readonly #req: IncomingMessage;
  readonly #options: RequestBodyOptions;
  #begun = false;
  #stopTimer: (() => void) | undefined;

  constructor(req: IncomingMessage, options: RequestBodyOptions) {
    super({ highWaterMark: req.readableHighWaterMark });
    this.#req = req;
    this.#options = options;
  }

  override _read(): void {
    if (!this.#begun) this.#begin();
    this.#req.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stopTimer?.();
    this.#req.off('data', this.#onData);
    this.#req.off('end', this.#onEnd);
    callback(error);
  }

  #begin(): void {
    this.#begun = true;
    const { clock, timeoutMs, onTimeout } = this.#options;
    if (timeoutMs > 0) this.#stopTimer = clock.after(timeoutMs, onTimeout);
    this.#req.on('data', this.#onData);
    this.#req.on('end', this.#onEnd);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#options.onBytes(chunk.length);
    if (!this.push(chunk)) this.#req.pause();
  };

  readonly #onEnd = (): void => {
    this.#stopTimer?.();
    this.push(null);
  };
}
