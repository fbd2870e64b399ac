/** Images of sources, put together: orders and their builds, records, the images in the registry, and upkeep while leading. */
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildStore } from '../store/build-store.ts';
import { adoptBuilds, correctRows } from './adoption.ts';
import type { EndState } from './build-journal.ts';
import { createBuildRecords } from './build-records.ts';
import { createBuildViews } from './build-views.ts';
import type { Builder } from './builder.ts';
import { createImageStore, type ImageRegistry } from './image-store.ts';
import type { Images } from './images.ts';
import { ImageOrders } from './orders.ts';
import { createProvenance } from './provenance.ts';
import { RegistryGate } from './registry-gate.ts';
import { createUpkeep } from './upkeep.ts';

interface ImagesDeps {
  /** `host[:port]/project/app`. */
  readonly repository: string;
  readonly registry: ImageRegistry;
  readonly sources: Pick<Sources, 'resolve' | 'tree'>;
  readonly builder: Builder;
  readonly store: BuildStore;
  readonly limits: {
    readonly maxRunning: number;
    readonly maxQueued: number;
    /** How long failures that pass are tried again. */
    readonly retryMs: number;
    /** Images of so many newest versions of each app are kept. */
    readonly keepVersions: number;
  };
  /** Build arguments of every build; no part of the identity of images. */
  readonly args: Readonly<Record<string, string>>;
  /** A build has ended; `seconds` from its turn on, undefined where it never had one. */
  readonly onEnded?: (state: EndState, seconds: number | undefined) => void;
  readonly clock: Clock;
  readonly log: Log;
}

const maxPrunedByHand = 10_000;
/** A guess at how long a build takes. */
const queueRetryMs = 10_000;

export function createImages(deps: ImagesDeps): Images {
  const { repository, registry, builder, store, limits, onEnded, clock, log } = deps;
  const gate = new RegistryGate(clock);
  const places = new Semaphore({ places: limits.maxRunning, maxWaiting: limits.maxQueued, full: queueFull });
  const records = createBuildRecords({ store, clock, log });
  const provenance = createProvenance({ store, records, gate, log });
  const orders = new ImageOrders({
    ...deps,
    provenance,
    gate,
    places,
    records,
    retryMs: limits.retryMs,
    onEnded(state, seconds) {
      onEnded?.(state, seconds);
      upkeep.built();
    },
  });
  const images = createImageStore({ repository, registry, store, gate, busy: () => orders.busy, log });
  const isOurs = (tag: string): boolean => orders.build(tag) !== undefined;
  const onRowEnded = (tag: string): void => orders.forgetAdopted(tag);
  const upkeep = createUpkeep({
    correct: (signal) => correctRows({ builder, store, records, isOurs, onEnded: onRowEnded, log }, signal),
    prune: (options, signal) => images.prune({ ...options, keep: limits.keepVersions }, signal),
    forget: (days) => store.forget(days),
    clock,
    log,
  });
  /** Grows with each lead and each loss of it. */
  let lead = 0;

  function releaseLead(): void {
    lead += 1;
    upkeep.stop();
    orders.releaseLead();
    records.releaseLead();
  }

  return {
    repository,
    ensure: (run, options) => orders.ensure(run, options),
    get running() {
      return places.held;
    },
    get queued() {
      return places.waiting;
    },

    async adopt(runs, signal) {
      lead += 1;
      const own = lead;
      const leads = (): boolean => own === lead;
      const adopted = await adoptBuilds({ builder, store, records, log, leads }, runs, signal);
      if (!leads()) return;
      orders.takeLead(adopted);
      upkeep.start();
    },
    releaseLead,

    ...createBuildViews({ orders, records, store }),
    list: ({ app }, signal) => images.list(app, signal),
    prune: ({ keep = limits.keepVersions, dryRun, actor = 'holdfast' }, signal) =>
      images.prune({ keep, dryRun, actor, maxImages: maxPrunedByHand }, signal),

    async close() {
      releaseLead();
      await orders.idle();
      await upkeep.idle();
      await records.close();
      await builder.close();
    },
  };
}

function queueFull(waiting: number): AppError {
  return new AppError('build_queue_full', `${waiting} builds wait for their turn already, which is the most allowed`, {
    phase: 'build',
    retryAfterMs: queueRetryMs,
  });
}
