/** POST /builds: takes a build in, waits for its turn and answers as it goes. A client that leaves ends its build. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { heartbeatMs, silenceMs, type BuildEvent, type BuildMeta } from '../shared/protocol/builder-wire.ts';
import type { Clock } from '../shared/wait/clock.ts';
import { AppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import { runBuild, type BuildRunDeps } from './build-run.ts';
import type { BuildSlots, Place } from './build-slots.ts';
import { openEventStream, type EventStream } from './event-stream.ts';
import { takeIn } from './intake.ts';

export interface BuildEndpointDeps {
  /** Folder of what is being built. */
  readonly work: string;
  readonly slots: BuildSlots;
  readonly maxContextBytes: number;
  readonly destinations: readonly string[];
  readonly run: BuildRunDeps;
  /** Nothing new is begun. */
  readonly drained: AbortSignal;
  /** Everything ends. */
  readonly stopped: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws AppError build_queue_full, builder_unavailable (draining) and those of `takeIn`, before the answer has begun. */
export type BuildEndpoint = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function createBuildEndpoint(deps: BuildEndpointDeps): BuildEndpoint {
  const { work, slots, maxContextBytes, destinations, drained, stopped, clock, log } = deps;

  async function serve(
    request: IncomingMessage,
    response: ServerResponse,
    place: Place,
    folder: string,
  ): Promise<void> {
    const left = new AbortController();
    const onLeave = (): void => left.abort(new AppError('cancelled', 'the client has left'));
    response.once('close', onLeave);
    // Between the chunks of a body, and the heartbeats of the answer, there is no such pause.
    request.setTimeout(silenceMs, () => request.destroy());
    const signal = AbortSignal.any([left.signal, stopped]);
    const archive = join(folder, 'context.tar.gz');
    const meta = await takeIn(request, { archive, maxContextBytes, destinations, signal });
    const events = openEventStream({ response, clock, heartbeatMs });
    try {
      const outcome = await build({ meta, folder, archive, place, signal, events });
      log.info({ tag: meta.tag, outcome: 'error' in outcome ? outcome.error.code : outcome }, 'a build has ended');
      await events.end(outcome);
    } finally {
      events.close();
    }
  }

  async function build(job: {
    readonly meta: BuildMeta;
    readonly folder: string;
    readonly archive: string;
    readonly place: Place;
    readonly signal: AbortSignal;
    readonly events: EventStream;
  }): Promise<BuildEvent> {
    const { meta, folder, archive, place, signal, events } = job;
    try {
      const slot = await place.turn(AbortSignal.any([signal, drained]), (queued) => void events.tell({ queued }));
      log.info({ tag: meta.tag, image: meta.image, slot }, 'a build begins');
      return await runBuild(deps.run, { meta, folder, archive, slot, signal, tell: events.tell });
    } catch (error) {
      if (!signal.aborted && !drained.aborted) throw error;
      const message = stopped.aborted || drained.aborted ? 'this builder stops' : 'its client has left';
      return { error: { code: 'builder_unavailable', message } };
    }
  }

  return async (request, response) => {
    if (drained.aborted) {
      throw new AppError('builder_unavailable', 'this builder stops', { retryAfterMs: heartbeatMs });
    }
    const place = slots.enter();
    let folder: string | undefined;
    try {
      folder = await mkdtemp(join(work, 'b-'));
      await serve(request, response, place, folder);
    } finally {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      // Last: who waits for an empty queue finds nothing left of its builds.
      place.leave();
    }
  };
}
