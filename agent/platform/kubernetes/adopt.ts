/** Takes charge of what runs already, after this agent became leader, and clears away what nobody names any more. */
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

/** A pod that was Ready and does not answer by then is not waited for: it may still become a target later. */
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
      // Retired by us when we led before, and kept by whoever led since.
      targets.unretire(run.app, run.version);
      running.push(run);
    }
    // By its label, not by its selector: that is what may have been edited.
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

/** Of its own Deployment, or of the one that versions with volumes share. */
export function hasReplicas(picture: Pick<Picture, 'applied'>, app: string, version: number): boolean {
  return [versionObjectName(app, version), appObjectName(app)].some((name) => {
    const deployment = picture.applied.Deployment.get(name);
    return deployment?.version === version && (deployment.replicas ?? 0) > 0;
  });
}

/** Apps that are not named were deleted, and versions that are not named were superseded, while nobody looked. */
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
      // The Service is of all versions; the engine points it to the live one.
      else if (kind !== 'Service' && version !== undefined && named.get(app)?.has(version) !== true) {
        versions.set(`${app} ${String(version)}`, { app, version });
      }
    }
  }
  for (const app of apps) {
    const removed = await deleteObjects(deps, app, signal);
    log.info({ app, removed }, 'objects of an app that does not exist any more are deleted');
  }
  for (const { app, version } of versions.values()) {
    await discardVersion(deps, app, version, signal);
    log.info({ app, version }, 'objects of a version that may not run any more are deleted');
  }
}
