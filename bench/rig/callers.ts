/** Many callers, each on a raw connection of its own, that call at once and take note of when the answers come. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { isWhole } from '../programs/framing.ts';

/** Times are nanoseconds of `process.hrtime`, which all processes of a machine share. */
export interface Answers {
  readonly sentNs: bigint;
  readonly firstByteNs: bigint;
  readonly lastAnswerNs: bigint;
  /** The largest number of places by which an answer came out of order. */
  readonly mostOutOfOrder: number;
  /** Time of the last answer. */
  readonly body: string;
}

/** Connections opened at a time, so that no accept queue overflows. */
const connectingAtOnce = 100;

export class Callers {
  readonly #signal: AbortSignal;
  readonly #sockets: Socket[] = [];
  #answers: PromiseWithResolvers<Answers> | undefined;
  #sentNs = 0n;
  #firstByteNs = 0n;
  #missing = 0;
  #mostOutOfOrder = 0;

  private constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  static async connect(
    to: { readonly host?: string; readonly port: number },
    count: number,
    signal: AbortSignal,
  ): Promise<Callers> {
    const callers = new Callers(signal);
    const { host = '127.0.0.1', port } = to;
    try {
      while (callers.#sockets.length < count) {
        const batch = Math.min(connectingAtOnce, count - callers.#sockets.length);
        const sockets = Array.from({ length: batch }, () => connect({ host, port, noDelay: true }));
        callers.#sockets.push(...sockets);
        // One may fail while another failure is already being reported.
        for (const socket of sockets) socket.on('error', () => socket.destroy());
        await Promise.all(sockets.map((socket) => once(socket, 'connect', { signal })));
      }
    } catch (error) {
      callers.close();
      throw error;
    }
    callers.#sockets.forEach((socket, place) => callers.#listen(socket, place));
    return callers;
  }

  /** Sends a GET on each connection. */
  send(path: string): void {
    this.#answers = Promise.withResolvers();
    // Looked at by `answered`; until then it must not count as unhandled.
    this.#answers.promise.catch(() => undefined);
    this.#missing = this.#sockets.length;
    this.#firstByteNs = 0n;
    this.#mostOutOfOrder = 0;
    this.#sentNs = process.hrtime.bigint();
    for (const socket of this.#sockets) socket.write(`GET ${path} HTTP/1.1\r\nHost: bench.example\r\n\r\n`);
  }

  /** Resolves when every call that was sent has its 200; rejects on any other answer, and when a connection is lost. */
  async answered(): Promise<Answers> {
    const { promise, reject } = this.#answers ?? Promise.withResolvers<Answers>();
    const abort = (): void => reject(this.#signal.reason);
    this.#signal.addEventListener('abort', abort, { once: true });
    try {
      this.#signal.throwIfAborted();
      return await promise;
    } finally {
      this.#signal.removeEventListener('abort', abort);
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #listen(socket: Socket, place: number): void {
    let pending = '';
    const fail = (why: string): void => this.#answers?.reject(new Error(why));
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('a connection was closed'));
    socket.on('data', (chunk: Buffer) => {
      const nowNs = process.hrtime.bigint();
      if (this.#firstByteNs === 0n) this.#firstByteNs = nowNs;
      pending += chunk.toString('latin1');
      if (!isWhole(pending)) return;
      const answer = pending;
      pending = '';
      if (!answer.startsWith('HTTP/1.1 200')) return fail(answer.slice(0, 500));
      const answered = this.#sockets.length - this.#missing;
      this.#mostOutOfOrder = Math.max(this.#mostOutOfOrder, Math.abs(answered - place));
      this.#missing -= 1;
      if (this.#missing > 0) return;
      const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
      this.#answers?.resolve({
        sentNs: this.#sentNs,
        firstByteNs: this.#firstByteNs,
        lastAnswerNs: process.hrtime.bigint(),
        mostOutOfOrder: this.#mostOutOfOrder,
        body,
      });
    });
  }
}

export function msBetween(fromNs: bigint, toNs: bigint): number {
  return Number(toNs - fromNs) / 1e6;
}

/** One call on a connection of its own. */
export async function callOnce(
  to: { readonly host?: string; readonly port: number },
  path: string,
  signal: AbortSignal,
): Promise<Answers> {
  const caller = await Callers.connect(to, 1, signal);
  try {
    caller.send(path);
    return await caller.answered();
  } finally {
    caller.close();
  }
}
