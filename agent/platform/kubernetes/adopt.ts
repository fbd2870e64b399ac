/** What a new leader does first: it takes over what already runs, and deletes what no version names. */
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { VersionRun } from '../platform.ts';
import type { Drift } from './objects/drift.ts';
import { deleteObjects, discardVersion, type EndDeps } from './end.ts';
import { appObjectName, versionObjectName } from './manifests/names.ts';
import type { Targets } from './rollout/targets.ts';
import { watchUntil } from '../../../shared/wait/watch-until.ts';
import { watchedKinds, type Picture } from './picture/picture.ts';

interface AdoptDeps extends EndDeps {
  readonly picture: Pick<Picture, 'applied' | 'podsOf' | 'onChange' | 'synced'>;
  readonly targets: Targets;
  readonly drift: Pick<Drift, 'look'>;
  readonly log: Log;
  readonly clock: Clock;
}

/** How long to wait for Ready pods to answer. One that answers later becomes a target then. */
const firstAnswersMs = 5_000;

export async function adoptVersions(deps: AdoptDeps, runs: readonly VersionRun[], signal: AbortSignal): Promise<void> {
  const { picture, desired, drift, targets, clock } = deps;
  desired.forgetAll();
  await picture.synced(signal);
  await clearUnnamed(deps, runs, signal);

  const running: VersionRun[] = [];
  for (const run of runs) {
    if (hasReplicas(picture, run.app, run.version)) {
      desired.up(run);
      // This agent may have retired it when it led before, and a later leader kept it.
      targets.unretire(run.app, run.version);
      running.push(run);
    }
    // Read from the label, because somebody may have edited the selector.
    if (picture.applied.Service.get(appObjectName(run.app))?.version === run.version) desired.service(run);
    drift.look(run.app);
  }

  const untilMs = clock.nowMs() + firstAnswersMs;
  await watchUntil({
    look() {
      const silent = running.some(({ app, version }) => {
        const ready = picture.podsOf(app, version).filter((pod) => pod.ready && !pod.leaving);
        return targets.of(app, version).length < ready.length;
      });
      const leftMs = untilMs - clock.nowMs();
      return silent && leftMs > 0 ? { againMs: leftMs } : { done: undefined };
    },
    subscribe: (listener) => targets.onChange(listener),
    clock,
    signal,
  });
}

/** Whether the version has replicas, in its own Deployment or in the one that versions with volumes share. */
export function hasReplicas(picture: Pick<Picture, 'applied'>, app: string, version: number): boolean {
  return [versionObjectName(app, version), appObjectName(app)].some((name) => {
    const deployment = picture.applied.Deployment.get(name);
    return deployment?.version === version && (deployment.replicas ?? 0) > 0;
  });
}

/** Deletes the objects of apps and versions that are not in `runs`: they were deleted or superseded while no agent led. */
async function clearUnnamed(deps: AdoptDeps, runs: readonly VersionRun[], signal: AbortSignal): Promise<void> {
  const { picture, log } = deps;
  const named = new Map<string, Set<number>>();
  for (const { app, version } of runs) named.set(app, (named.get(app) ?? new Set()).add(version));
  const apps = new Set<string>();
  const versions = new Map<string, { readonly app: string; readonly version: number }>();
  for (const kind of watchedKinds) {
    for (const { app, version } of picture.applied[kind].list()) {
      if (app === undefined) continue;
      if (!named.has(app)) apps.add(app);
      // The Service belongs to all versions; the engine points it to the live one.
      else if (kind !== 'Service' && version !== undefined && named.get(app)?.has(version) !== true) {
        versions.set(`${app} ${String(version)}`, { app, version });
      }
    }
  }
  for (const app of apps) {
    const removed = await deleteObjects(deps, app, signal);
    log.info({ app, removed }, 'deleted the objects of an app that does not exist');
  }
  for (const { app, version } of versions.values()) {
    await discardVersion(deps, app, version, signal);
    log.info({ app, version }, 'deleted the objects of a version that may not run');
  }
}
