/** Images of sources on Kubernetes: what is asked for is looked for in the registry, else built once for all who ask. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { BuildView } from '../../shared/protocol/views.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { PrepareOptions, VersionRun } from '../platform/platform.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildRecord, BuildStore } from '../store/build-store.ts';
import { adoptBuilds, correctRows, type Adopted } from './adoption.ts';
import { inPhase } from './build-failure.ts';
import { createBuildRecords, newestFirst } from './build-records.ts';
import type { Builder } from './builder.ts';
import { imageTag } from './identity.ts';
import { ImageBuild, type EndState } from './image-build.ts';
import { createImageStore, type ImageRegistry } from './image-store.ts';
import type { BuiltImage, Images } from './images.ts';
import { untilItPasses } from './passing-failures.ts';
import { recipeOf, type Presets } from './recipe.ts';
import { RegistryGate } from './registry-gate.ts';
import { createScheduler } from './scheduler.ts';
import { createUpkeep } from './upkeep.ts';
import { abortOf, settledOrAborted } from './waits.ts';

interface ImagesDeps {
  /** `host[:port]/project/app`. */
  readonly repository: string;
  readonly registry: ImageRegistry;
  readonly sources: Pick<Sources, 'resolve' | 'tree'>;
  readonly presets: Presets;
  readonly builder: Builder;
  readonly store: BuildStore;
  readonly limits: {
    readonly maxRunning: number;
    readonly maxQueued: number;
    /** How long failures that pass are tried again. */
    readonly retryMs: number;
    /** Newest versions of each app whose images are kept. */
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

export function createImages(deps: ImagesDeps): Images {
  const { repository, registry, sources, presets, builder, store, limits, clock, log } = deps;
  const { retryMs } = limits;
  const gate = new RegistryGate(clock);
  const scheduler = createScheduler(limits);
  const records = createBuildRecords({ store, clock, log });
  const builds = new Map<string, ImageBuild>();
  const images = createImageStore({
    repository,
    registry,
    store,
    gate,
    busy: () => new Set([...builds.keys(), ...adopted.keys()]),
    log,
  });
  const upkeep = createUpkeep({
    correct: (signal) =>
      correctRows(
        {
          repository,
          builder,
          registry,
          store,
          records,
          isOurs: (tag) => builds.has(tag),
          onEnded: (tag) => void adopted.delete(tag),
          log,
        },
        signal,
      ),
    prune: (options, signal) => images.prune({ ...options, keep: limits.keepVersions }, signal),
    forget: (days) => store.forget(days),
    clock,
    log,
  });
  /** Versions whose image is asked for, until it is known whether it is to be built. */
  const asking = new Set<{ readonly app: string; readonly version: number; readonly decided: Promise<void> }>();
  /** Grows with each lead and each loss of it. */
  let lead = 0;
  let leads = false;
  /** Builds of an agent before this one that are wanted, and that nobody has asked for yet. */
  let adopted: Adopted = new Map();

  /** Without the source: of a version whose tag is known from an earlier try. */
  async function alreadyThere({ app, version, pin }: VersionRun, signal: AbortSignal): Promise<BuiltImage | undefined> {
    const { imageTag: tag } = pin;
    if (tag === null) return undefined;
    try {
      return await gate.lookup(async () => {
        const digest = await registry.exists(`${repository}:${tag}`, signal);
        if (digest === undefined) return undefined;
        gate.handOut({ app, version, tag, digest });
        return { imageTag: tag, imageDigest: digest };
      });
    } catch (error) {
      signal.throwIfAborted();
      // It is tried again where a build is.
      if (toAppError(error).code === 'registry_unavailable') return undefined;
      throw error;
    }
  }

  /** What the image is called, by the source itself. */
  async function identify(run: VersionRun, signal: AbortSignal): Promise<{ tag: string; sourceDigest: string }> {
    const { spec, pin } = run;
    const sourceDigest = pin.sourceDigest ?? (await sources.resolve(spec, signal));
    const tree = await sources.tree(spec, sourceDigest, signal);
    try {
      const { dockerfile, extraFiles } = await recipeOf(tree.folder, spec, presets);
      const tag = await imageTag({
        treeDigest: tree.digest,
        dockerfile,
        extraFiles,
        args: spec.build.args,
        secretArgs: spec.build_secrets,
        target: spec.build.target,
        builder: builder.kind,
      });
      return { tag, sourceDigest };
    } finally {
      tree.release();
    }
  }

  /** The build of the tag, begun where there is none. Never waits, so that two who ask cannot both begin one. */
  function buildOf(tag: string, run: VersionRun, sourceDigest: string): ImageBuild {
    const running = builds.get(tag);
    if (running) return running;
    const underWay = adopted.has(tag);
    const known = adopted.get(tag);
    adopted.delete(tag);
    const build = new ImageBuild(
      {
        ...deps,
        gate,
        scheduler,
        records,
        retryMs,
        leads: () => leads,
        onSettled: ({ tag: ended }) => void builds.delete(ended),
        onEnded(state, seconds) {
          deps.onEnded?.(state, seconds);
          upkeep.built();
        },
      },
      { tag, run, sourceDigest, underWay, known },
    );
    builds.set(tag, build);
    return build;
  }

  async function ensure(run: VersionRun, options: PrepareOptions): Promise<BuiltImage> {
    const { promise: decided, resolve: decide } = Promise.withResolvers<void>();
    const asked = { app: run.app, version: run.version, decided };
    asking.add(asked);
    try {
      return await find(run, options, decide);
    } finally {
      asking.delete(asked);
      decide();
    }
  }

  async function find(run: VersionRun, options: PrepareOptions, onDecided: () => void): Promise<BuiltImage> {
    const { signal, onPhase } = options;
    const { app, version } = run;
    signal.throwIfAborted();
    const there = await alreadyThere(run, signal);
    if (there) return there;
    onPhase('source', 'fetches the source');
    const onRetry = (error: AppError): void => onPhase('source', `${error.code}: ${error.message}; tries again`);
    const { tag, sourceDigest } = await untilItPasses({ clock, retryMs, signal, onRetry }, () =>
      inPhase('source', () => identify(run, signal)),
    );
    for (;;) {
      // Whoever begins a build waits for it: what nobody waits for would not be ended by the last who leaves.
      signal.throwIfAborted();
      // The failure of who lost the lead is nobody's failure: the caller ends with the lead.
      if (!leads) throw await abortOf(signal);
      const build = buildOf(tag, run, sourceDigest);
      if (build.work.signal.aborted) {
        await settledOrAborted(build.work.settled, signal);
        continue;
      }
      build.asked(run);
      build.decided.then(onDecided, onDecided);
      records.want(app, version, tag);
      try {
        const imageDigest = await build.work.join({ signal, onPhase });
        gate.handOut({ app, version, tag, digest: imageDigest });
        return { imageTag: tag, imageDigest };
      } catch (error) {
        signal.throwIfAborted();
        if (!build.work.signal.aborted) throw error;
      }
    }
  }

  function letGo(): void {
    lead += 1;
    leads = false;
    adopted = new Map();
    upkeep.stop();
    const reason = new AppError('not_leader', 'this agent does not lead any more');
    for (const build of builds.values()) build.work.abort(reason);
    records.drop();
  }

  /** Those that are being built, newest first. */
  function underWayOf(app?: string, version?: number): BuildRecord[] {
    const found = [...builds.values()].filter((build) => app === undefined || build.wasAskedBy(app, version));
    return newestFirst(found.flatMap(({ record }) => record ?? []));
  }

  return {
    repository,
    ensure,
    get running() {
      return scheduler.running;
    },
    get queued() {
      return scheduler.queued;
    },

    async adopt(runs, signal) {
      lead += 1;
      const turn = lead;
      adopted = await adoptBuilds({ builder, store, records, log, leads: () => turn === lead }, runs, signal);
      if (turn !== lead) return;
      leads = true;
      upkeep.start();
    },

    letGo,

    async builds({ app, limit }) {
      const stored = await store.list({ app, limit });
      const fresh = [...underWayOf(app), ...records.waiting.filter((one) => app === undefined || one.app === app)];
      // The first of a tag is the freshest.
      const byTag = new Map<string, BuildView>();
      for (const build of [...fresh.map(viewOf), ...stored]) if (!byTag.has(build.tag)) byTag.set(build.tag, build);
      return newestFirst([...byTag.values()]).slice(0, limit);
    },

    async logs({ app, version, tail, follow }, emit, signal) {
      // Who follows means the build that is about to begin, not the one before.
      const open = follow ? [...asking] : [];
      for (const one of open) {
        const isIt = one.app === app && (version === undefined || one.version === version);
        if (isIt) await settledOrAborted(one.decided, signal);
      }
      const [newest] = underWayOf(app, version);
      const build = newest && builds.get(newest.tag);
      if (newest && build) {
        const { tag } = build;
        const lines = follow ? build.log.follow(tail, signal) : build.log.last(tail);
        for await (const line of lines) await emit({ tag, line });
        signal.throwIfAborted();
        return viewOf(build.record ?? newest);
      }
      const isIt = (one: BuildRecord): boolean => one.app === app && (version === undefined || one.version === version);
      const stored = records.waiting.find(isIt) ?? (await store.find(app, version));
      if (!stored) {
        const which = version === undefined ? app : `version ${version} of ${app}`;
        throw new AppError('build_not_found', `no image was built for ${which}`);
      }
      for (const line of tail === 0 ? [] : stored.logs.slice(-tail)) await emit({ tag: stored.tag, line });
      return viewOf(stored);
    },

    list: ({ app }, signal) => images.list(app, signal),

    prune: ({ keep = limits.keepVersions, dryRun, actor = 'holdfast' }, signal) =>
      images.prune({ keep, dryRun, actor, maxImages: maxPrunedByHand }, signal),

    async close() {
      letGo();
      await Promise.all([...builds.values()].map(({ work }) => work.settled));
      await upkeep.idle();
      await records.close();
      await builder.close();
    },
  };
}

function viewOf({ logs: _logs, ...view }: BuildRecord): BuildView {
  return view;
}
