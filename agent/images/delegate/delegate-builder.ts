/** Builds on a builder elsewhere (`holdfast builder serve`): sends the context and follows the answer. */
import type { Readable } from 'node:stream';
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { createMask } from '../../../shared/mask.ts';
import type { BuildEvent, BuildMeta } from '../../../shared/protocol/builder-wire.ts';
import type { BuildOptions, BuildRequest, Builder } from '../builder.ts';
import { RunningBuilds } from '../running-builds.ts';
import { openExchange } from './exchange.ts';

export interface DelegateBuilderDeps {
  /** The URL of the builder, to which `/builds` is appended. */
  readonly url: string;
  readonly token: string | undefined;
  /** PEM text of the builder's certificate authority, which is trusted besides the default ones. */
  readonly ca: string | undefined;
  /** Packs the context as tar.gz. */
  readonly pack: (context: {
    readonly folder: string;
    readonly extraFiles: Readonly<Record<string, string>>;
  }) => Readable;
  /** Build arguments of every build. Those of the app win. */
  readonly args?: Readonly<Record<string, string>>;
  /** Bound of one build from its start, and of its wait in the builder's queue. */
  readonly timeoutMs: number;
  readonly log: Log;
  readonly clock: Clock;
}

/** The builder ends a build when its client leaves, so that after a restart there is nothing to join. */
export function createDelegateBuilder(deps: DelegateBuilderDeps): Builder {
  const { url, token, ca, pack, args = {}, timeoutMs, log, clock } = deps;
  const running = new RunningBuilds();

  async function follow(request: BuildRequest, options: BuildOptions, signal: AbortSignal): Promise<string> {
    const mask = createMask(Object.values(request.secretArgs));
    const host = new URL(url).host;
    let isWaiting = false;
    const late = (): AppError => {
      const time = `${String(timeoutMs / 1_000)} s`;
      if (isWaiting) {
        const message = `the build has waited ${time} in the queue of the builder ${host}`;
        return new AppError('builder_unavailable', message, { phase: 'build' });
      }
      const message = `the build on ${host} did not end within ${time}`;
      return new AppError('build_timeout', message, { phase: 'build' });
    };
    options.onPhase(`sending the context to the builder ${host}`);
    await using exchange = openExchange({
      url,
      token,
      ca,
      meta: metaOf(request, args),
      file: pack({ folder: request.tree.folder, extraFiles: request.extraFiles }),
      limitMs: timeoutMs,
      late,
      clock,
      signal,
    });
    for await (const event of exchange.events()) {
      const verdict = take(event);
      if (verdict !== undefined) return verdict;
      // The time in the queue does not count for the build.
      if (isWaiting && !('queued' in event) && !('alive' in event)) exchange.restartLimit();
      isWaiting = 'queued' in event || (isWaiting && 'alive' in event);
    }
    throw new AppError('builder_unavailable', `the builder ${host} ended its answer without a result`, {
      phase: 'build',
    });

    function take(event: BuildEvent): string | undefined {
      if ('line' in event) options.onLine(mask(event.line));
      else if ('queued' in event)
        options.onPhase(`waiting for the builder ${host}: number ${event.queued} in its queue`);
      else if ('phase' in event) {
        options.onPhase(event.phase === 'pushing' ? `pushing ${request.image}` : `building on ${host}`);
      } else if ('digest' in event) return event.digest;
      else if ('error' in event) {
        const { code, message, ...data } = event.error;
        const logs = data.logs?.map(mask);
        throw new AppError(code, mask(message), {
          phase: 'build',
          data: logs === undefined ? data : { ...data, logs },
        });
      }
      return undefined;
    }
  }

  return {
    kind: 'delegate',
    build: (request, options) =>
      running.run(request.tag, options.signal, async (signal) => {
        try {
          return await follow(request, options, signal);
        } catch (error) {
          if (!signal.aborted) log.info({ err: error, tag: request.tag }, 'a delegated build failed');
          throw error;
        }
      }),
    cancel(tag) {
      running.cancel(tag);
      return Promise.resolve();
    },
    underWay: () => Promise.resolve([]),
    close: () => running.close(),
  };
}

function metaOf(request: BuildRequest, args: Readonly<Record<string, string>>): BuildMeta {
  return {
    tag: request.tag,
    image: request.image,
    dockerfile: request.dockerfile,
    args: { ...args, ...request.args },
    secretArgs: { ...request.secretArgs },
    ...(request.target === undefined ? {} : { target: request.target }),
    labels: { 'holdfast.dev/app': request.app, 'holdfast.dev/version': String(request.version) },
  };
}
