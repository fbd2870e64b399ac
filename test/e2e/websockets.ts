/** A WebSocket to the test app, which echoes. */
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { WebSocket } from 'ws';

export class Conversation {
  readonly #socket: WebSocket;
  readonly #heard: string[] = [];
  readonly #waiting: ((message: string) => void)[] = [];
  /** The code it is closed with; 1006 where its connection was cut. */
  readonly closed: Promise<number>;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#heard.push(data.toString());
      else next(data.toString());
    });
    this.closed = once(socket, 'close').then(([code]) => code as number);
  }

  /** Resolves when the app has said its version, through a wake where it has to. */
  static async open(
    t: Pick<TestContext, 'after'>,
    url: string,
  ): Promise<{ readonly talk: Conversation; readonly greeting: string }> {
    const socket = new WebSocket(url, { handshakeTimeout: 120_000 });
    t.after(() => socket.terminate());
    const talk = new Conversation(socket);
    return { talk, greeting: await talk.hears() };
  }

  /** @throws when it is closed before the echo. */
  async echoes(message: string): Promise<void> {
    this.#socket.send(message);
    const heard = await this.hears();
    if (heard !== message) throw new Error(`sent ${message}, heard ${heard}`);
  }

  /** @returns the next message. @throws when it is closed instead. */
  async hears(): Promise<string> {
    const known = this.#heard.shift();
    if (known !== undefined) return known;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.push(resolve);
    return await Promise.race([promise, this.closed.then((code) => Promise.reject(new Error(`closed with ${code}`)))]);
  }

  close(): void {
    this.#socket.close(1000);
  }
}
