/** POST /builds: receives a build, waits for its turn, and streams its progress. A client that leaves ends its build. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { heartbeatMs, silenceMs, type BuildEvent, type BuildMeta } from '../shared/protocol/builder-wire.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { Semaphore } from '../shared/wait/semaphore.ts';
import { AppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import { runBuild, type BuildRunDeps } from './build-run.ts';
import { openEventStream, type EventStream } from './event-stream.ts';
import { receiveBuild } from './intake.ts';

export interface BuildEndpointDeps {
  /** Folder for builds under way. */
  readonly work: string;
  /** Bounds the builds that are here: those that run, wait, or are being received. */
  readonly admitted: Semaphore;
  /** Bounds the builds that run. Each slot has layers of its own. */
  readonly slots: Semaphore;
  readonly maxContextBytes: number;
  readonly destinations: readonly string[];
  readonly run: BuildRunDeps;
  /** Aborted when no new build may begin. */
  readonly drained: AbortSignal;
  /** Aborted when all builds have to end. */
  readonly stopped: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

/** A guess at when one of the builds has ended. */
const fullRetryMs = 15_000;

/** @throws AppError build_queue_full, builder_unavailable (draining) and those of `receiveBuild`, before the answer has begun. */
export type BuildEndpoint = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function createBuildEndpoint(deps: BuildEndpointDeps): BuildEndpoint {
  const { work, admitted, slots, maxContextBytes, destinations, drained, stopped, clock, log } = deps;

  async function serve(request: IncomingMessage, response: ServerResponse, folder: string): Promise<void> {
    const left = new AbortController();
    const onLeave = (): void => left.abort(new AppError('cancelled', 'the client has left'));
    response.once('close', onLeave);
    // A client that is alive never pauses for this long between the chunks of its body; nor does the answer, which has heartbeats.
    request.setTimeout(silenceMs, () => request.destroy());
    const signal = AbortSignal.any([left.signal, stopped]);
    const archive = join(folder, 'context.tar.gz');
    const meta = await receiveBuild(request, { archive, maxContextBytes, destinations, signal });
    const events = openEventStream({ response, clock, heartbeatMs });
    try {
      const outcome = await build({ meta, folder, archive, signal, events });
      log.info({ tag: meta.tag, outcome: 'error' in outcome ? outcome.error.code : outcome }, 'build ended');
      await events.end(outcome);
    } finally {
      events.close();
    }
  }

  async function build(job: {
    readonly meta: BuildMeta;
    readonly folder: string;
    readonly archive: string;
    readonly signal: AbortSignal;
    readonly events: EventStream;
  }): Promise<BuildEvent> {
    const { meta, folder, archive, signal, events } = job;
    try {
      using place = await slots.acquire({
        signal: AbortSignal.any([signal, drained]),
        onPosition: (queued) => void events.send({ queued }),
      });
      const { slot } = place;
      log.info({ tag: meta.tag, image: meta.image, slot }, 'build started');
      return await runBuild(deps.run, { meta, folder, archive, slot, signal, send: (event) => events.send(event) });
    } catch (error) {
      if (!signal.aborted && !drained.aborted) throw error;
      const message = stopped.aborted || drained.aborted ? 'this builder stops' : 'the client has left';
      return { error: { code: 'builder_unavailable', message } };
    }
  }

  return async (request, response) => {
    if (drained.aborted) {
      throw new AppError('builder_unavailable', 'this builder stops', { retryAfterMs: heartbeatMs });
    }
    // Given back last: when all places are free, nothing of any build is left on the disk.
    using _place = admitted.tryAcquire() ?? refuseFull(admitted.held);
    const folder = await mkdtemp(join(work, 'b-'));
    try {
      await serve(request, response, folder);
    } finally {
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    }
  };
}

function refuseFull(builds: number): never {
  const message = `${String(builds)} builds run or wait here already`;
  throw new AppError('build_queue_full', message, { phase: 'build', retryAfterMs: fullRetryMs });
}
