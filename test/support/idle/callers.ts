/** Callers of every kind, each of which knows what its answer must be: a GET, a POST, a stream, a WebSocket. */
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Random } from './random.ts';

export const callKinds = ['get', 'post', 'stream', 'websocket'] as const;
export type CallKind = (typeof callKinds)[number];

export interface Caller {
  /** @param url of the app at a router. @param lastsMs of a stream or a WebSocket at most. @returns what went wrong; undefined when it was answered as it must be. */
  call(kind: CallKind, url: string, id: string, lastsMs: number): Promise<string | undefined>;
  close(): void;
}

const deadlineMs = 60_000;

export function createCaller(random: Random): Caller {
  const kept = new Agent({ keepAlive: true });

  async function send(
    url: string,
    id: string,
    options: { readonly method: string; readonly parts?: readonly string[] },
  ): Promise<string> {
    const { method, parts = [] } = options;
    const outgoing = request(url, {
      method,
      agent: random.below(2) === 0 ? kept : new Agent(),
      headers: { 'X-Call-Id': id, ...(parts.length > 0 && { 'Content-Length': parts.join('').length }) },
      signal: AbortSignal.timeout(deadlineMs),
    });
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
    // Awaited below; an error in between is not unhandled.
    answered.catch(() => undefined);
    for (const part of parts) {
      outgoing.write(part);
      await pause(random.below(10));
    }
    outgoing.end();
    const [response] = await answered;
    const body = await text(response);
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${body.slice(0, 200)}`);
    return body;
  }

  const kinds: Record<CallKind, (url: string, id: string, lastsMs: number) => Promise<void>> = {
    async get(url, id) {
      const { headers } = JSON.parse(await send(url, id, { method: 'GET' })) as { headers: Record<string, string> };
      if (headers['x-call-id'] !== id) throw new Error(`answered for ${headers['x-call-id']}`);
    },
    async post(url, id) {
      const parts = [id, 'x'.repeat(random.below(100_000)), 'end'];
      const { body } = JSON.parse(await send(`${url}/echo`, id, { method: 'POST', parts })) as { body: string };
      if (body !== parts.join('')) throw new Error(`${body.length} characters came back`);
    },
    async stream(url, id, lastsMs) {
      const body = await send(`${url}/stream?count=4&ms=${random.below(lastsMs / 4)}`, id, { method: 'GET' });
      if (body !== 'data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n') throw new Error(`streamed ${JSON.stringify(body)}`);
    },
    async websocket(url, id, lastsMs) {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, {
        headers: { 'X-Call-Id': id },
        handshakeTimeout: deadlineMs,
      });
      const messages: string[] = [];
      const closed = Promise.withResolvers<number>();
      socket.on('message', (data: Buffer) => {
        messages.push(data.toString());
        if (messages.length === 1) socket.send(id);
        else setTimeout(() => socket.close(1_000), random.below(lastsMs));
      });
      socket.once('close', (code) => closed.resolve(code));
      socket.once('error', closed.reject);
      const timer = setTimeout(() => socket.terminate(), deadlineMs);
      const code = await closed.promise.finally(() => clearTimeout(timer));
      if (code !== 1_000 || messages[1] !== id) throw new Error(`closed with ${code} after ${messages.join(', ')}`);
    },
  };

  return {
    async call(kind, url, id, lastsMs) {
      try {
        await kinds[kind](url, id, lastsMs);
        return undefined;
      } catch (error) {
        const { code = '', message } = error as { code?: string; message: string };
        return `${kind} ${id} at ${url}: ${code} ${message}`;
      }
    },
    close: () => kept.destroy(),
  };
}
