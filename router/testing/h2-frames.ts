/** For tests of frames: a client of HTTP/2 that says what the test says, frame by frame. RFC 9113 §4.1, RFC 7541. */
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { until } from '../../shared/wait/testing/until.ts';

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const Type = {
  data: 0,
  headers: 1,
  priority: 2,
  rst: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const Flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** As literals without index, RFC 7541 §6.2.2. */
export function block(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, 'latin1');
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const rest = bytes.length - 127;
    return Buffer.concat([Buffer.from([127, (rest & 127) | 128, (rest >> 7) & 127]), bytes]);
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  }
  return frame(Type.settings, 0, 0, payload);
}

export interface Heard {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export class FrameClient {
  readonly socket: Socket;
  readonly heard: Heard[] = [];
  closed = false;
  #rest: Buffer = Buffer.alloc(0);

  constructor(t: TestContext, port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true });
    t.after(() => this.socket.destroy());
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.closed = true));
    this.socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  say(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  find(type: number, stream?: number): Heard | undefined {
    return this.heard.find((one) => one.type === type && (stream === undefined || one.stream === stream));
  }

  /**
   * What the other side does about it, in words: `goaway N`, `reset N` of a stream, the status of a problem that it
   * answers with, `answered`, or `closed`.
   */
  async verdict(): Promise<string> {
    let found: string | undefined;
    await until(() => (found = this.#verdict()) !== undefined, 'a verdict');
    return found ?? '';
  }

  #verdict(): string | undefined {
    const goaway = this.find(Type.goaway);
    const reset = this.find(Type.rst);
    const data = this.find(Type.data)?.payload.toString();
    if (goaway !== undefined) return `goaway ${goaway.payload.readUInt32BE(4)}`;
    if (reset !== undefined && data === undefined) return `reset ${reset.payload.readUInt32BE(0)}`;
    if (data?.startsWith('{') === true) return String((JSON.parse(data) as { status: number }).status);
    if (data !== undefined) return 'answered';
    return this.closed ? 'closed' : undefined;
  }

  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 9) {
      const length = bytes.readUIntBE(0, 3);
      if (bytes.length < 9 + length) break;
      const [type = 0, flags = 0] = bytes.subarray(3, 5);
      this.heard.push({ type, flags, stream: bytes.readUInt32BE(5), payload: bytes.subarray(9, 9 + length) });
      bytes = bytes.subarray(9 + length);
    }
    this.#rest = bytes;
  }
}
