/** The answer to a build: one JSON value a line, at the pace of its reader, never silent for long. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { BuildEvent } from '../shared/protocol/builder-wire.ts';
import type { Clock } from '../shared/wait/clock.ts';

export interface EventStream {
  /** Resolves when there is room for more; at once when nobody reads any more. */
  readonly tell: (event: BuildEvent) => Promise<void>;
  /** Tells the last event. */
  end(event: BuildEvent): Promise<void>;
  close(): void;
}

export interface EventStreamDeps {
  readonly response: ServerResponse;
  readonly clock: Clock;
  readonly heartbeatMs: number;
}

export function openEventStream({ response, clock, heartbeatMs }: EventStreamDeps): EventStream {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.once('error', () => gone.abort());
  response.writeHead(200, {
    'Content-Type': 'application/x-ndjson',
    'Cache-Control': 'no-store',
    // Or some proxies keep lines back until they have many.
    'X-Accel-Buffering': 'no',
  });
  response.flushHeaders();
  let takeBack = clock.after(heartbeatMs, beat);

  function beat(): void {
    // Who does not read what was told has no use for more of it.
    if (!response.writableNeedDrain) write({ alive: true });
    else takeBack = clock.after(heartbeatMs, beat);
  }

  function write(event: BuildEvent): boolean {
    takeBack();
    if (gone.signal.aborted) return true;
    takeBack = clock.after(heartbeatMs, beat);
    return response.write(`${JSON.stringify(event)}\n`);
  }

  return {
    async tell(event) {
      if (write(event)) return;
      await once(response, 'drain', { signal: gone.signal }).catch(() => undefined);
    },
    async end(event) {
      takeBack();
      if (gone.signal.aborted) return;
      const finished = once(response, 'close').catch(() => undefined);
      response.end(`${JSON.stringify(event)}\n`);
      await finished;
    },
    close() {
      takeBack();
      if (!response.writableEnded) response.destroy();
    },
  };
}
