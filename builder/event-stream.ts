/** The answer to a build request: one JSON value per line, at the pace of the client, with heartbeats. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { BuildEvent } from '../shared/protocol/builder-wire.ts';
import type { Clock } from '../shared/wait/clock.ts';

export interface EventStreamDeps {
  readonly response: ServerResponse;
  readonly clock: Clock;
  readonly heartbeatMs: number;
}

export function openEventStream({ response, clock, heartbeatMs }: EventStreamDeps) {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.once('error', () => gone.abort());
  response.writeHead(200, {
    'Content-Type': 'application/x-ndjson',
    'Cache-Control': 'no-store',
    // Keeps some proxies from buffering lines.
    'X-Accel-Buffering': 'no',
  });
  response.flushHeaders();
  let stopTimer = clock.after(heartbeatMs, beat);

  function beat(): void {
    // A client that does not read needs no heartbeat.
    if (!response.writableNeedDrain) write({ alive: true });
    else stopTimer = clock.after(heartbeatMs, beat);
  }

  function write(event: BuildEvent): boolean {
    stopTimer();
    if (gone.signal.aborted) return true;
    stopTimer = clock.after(heartbeatMs, beat);
    return response.write(`${JSON.stringify(event)}\n`);
  }

  return {
    /** Sends an event. Resolves when there is room for more, or at once if the client has left. */
    async send(event: BuildEvent): Promise<void> {
      if (write(event)) return;
      await once(response, 'drain', { signal: gone.signal }).catch(() => undefined);
    },
    /** Sends the last event, and resolves when the client has it. */
    async end(event: BuildEvent): Promise<void> {
      stopTimer();
      if (gone.signal.aborted) return;
      const finished = once(response, 'close').catch(() => undefined);
      response.end(`${JSON.stringify(event)}\n`);
      await finished;
    },
    close(): void {
      stopTimer();
      if (!response.writableEnded) response.destroy();
    },
  };
}

export type EventStream = ReturnType<typeof openEventStream>;
