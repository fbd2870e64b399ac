/** Applies the objects of versions, and remembers what was applied so that drift can be detected. */
import type { Clock } from '../../../../shared/wait/clock.ts';
import type { VersionRun } from '../../platform.ts';
import { platformError, type Objects } from './objects.ts';
import { appliedFacts, type AppliedFacts } from '../picture/facts.ts';
import type { Change } from '../../../kube/informer.ts';
import type { Kinds } from '../../../kube/kinds.ts';
import { labels } from '../../../kube/labels.ts';
import { appObjectName, versionObjectName } from '../manifests/names.ts';
import {
  contentAnnotation,
  deploymentName,
  isAutoscaled,
  replicasOf,
  serviceOf,
  versionObjects,
  type Manifest,
  type ManifestKind,
  type ObjectsOptions,
} from '../manifests/manifests.ts';
import type { Picture, WatchedKind } from '../picture/picture.ts';

/** The watch reports an apply within milliseconds. After this time it is trusted, whatever it shows. */
const trustWatchAfterMs = 5_000;

/** The object that was applied last, as the API server returned it. */
interface Applied {
  readonly facts: AppliedFacts;
  /** When the API server answered; undefined once the watch has reported the object. */
  unseenSinceMs: number | undefined;
}

export interface Workloads {
  /**
   * Makes the objects of the version as they should be, with replicas: one patch if only the replicas differ, no request
   * if nothing differs.
   * @returns the generation of the Deployment.
   */
  raise(run: VersionRun, signal: AbortSignal): Promise<number>;
  /** Scales the Deployment to zero if it exists. */
  lower(deployment: string, signal: AbortSignal): Promise<void>;
  applyService(run: VersionRun, signal: AbortSignal): Promise<void>;
  /** Whether the version has its replicas, by the latest answer or watch event. */
  hasReplicas(run: VersionRun): boolean;
  /** Takes a watch event. From then on it counts, and not the answer to our own apply. */
  observed(kind: WatchedKind, change: Change<AppliedFacts>): void;
  /** Whether this process has applied it: if so, a difference was made by somebody else. */
  wasRaised(run: VersionRun): boolean;
  wasLowered(run: VersionRun): boolean;
  wasServiceApplied(run: VersionRun): boolean;
  isAtZero(run: VersionRun): boolean;
  /** Whether everything except the replicas is as it was applied last, as far as the watches know. */
  isIntact(run: VersionRun): boolean;
  isServiceIntact(run: VersionRun): boolean;
  /** Forgets a version whose objects are being deleted. */
  forgetVersion(app: string, version: number): void;
  forget(app: string): void;
  /** Forgets everything: another agent may apply from now on. */
  forgetAll(): void;
}

export function createWorkloads(deps: {
  readonly objects: Objects;
  readonly picture: Pick<Picture, 'applied'>;
  readonly options: ObjectsOptions;
  readonly clock: Clock;
}): Workloads {
  const { objects, picture, options, clock } = deps;
  /** What was applied, by app and `Kind/name`. */
  const expectations = new Map<string, Map<string, Applied>>();

  /** The latest answers about Deployments, by name. */
  const answered = new Map<string, Pick<AppliedFacts, 'uid' | 'generation' | 'version' | 'replicas'>>();

  async function apply(app: string, manifest: Manifest, signal: AbortSignal): Promise<Kinds[ManifestKind]> {
    const key = `${manifest.kind}/${manifest.metadata.name}`;
    try {
      const now = await objects.apply(manifest, signal);
      const own = expectations.get(app) ?? new Map<string, Applied>();
      const facts = appliedFacts(now);
      const { kind } = manifest;
      const seen = kind === 'PersistentVolumeClaim' ? facts : picture.applied[kind].get(facts.name);
      const isSeen = seen?.uid === facts.uid && seen?.fingerprint === facts.fingerprint;
      expectations.set(app, own.set(key, { facts, unseenSinceMs: isSeen ? undefined : clock.nowMs() }));
      return now;
    } catch (error) {
      throw platformError(error, key);
    }
  }

  async function scale(name: string, replicas: number, signal: AbortSignal): Promise<Kinds['Deployment'] | undefined> {
    try {
      const now = await objects.scale(name, replicas, signal);
      if (now !== undefined) remember(now);
      return now;
    } catch (error) {
      throw platformError(error, `Deployment/${name}`);
    }
  }

  function remember(deployment: Kinds[ManifestKind]): void {
    const { name, uid, generation, version, replicas } = appliedFacts(deployment);
    answered.set(name, { uid, generation, version, replicas });
  }

  /** The object as the watch shows it, or as our own apply was answered if the watch has not reported that yet. */
  function factsNow(app: string, kind: WatchedKind, name: string): AppliedFacts | undefined {
    const seen = picture.applied[kind].get(name);
    const own = expectations.get(app)?.get(`${kind}/${name}`);
    if (own?.unseenSinceMs === undefined || clock.nowMs() - own.unseenSinceMs > trustWatchAfterMs) return seen;
    return seen?.deleting === true ? seen : own.facts;
  }

  /** The watch reports later than requests are answered, so the newer generation counts. */
  function scaleNow(run: VersionRun): { readonly replicas: number; readonly generation: number } {
    const name = deploymentName(run);
    const seen = factsNow(run.app, 'Deployment', name);
    if (seen === undefined) return { replicas: 0, generation: 0 };
    const answer = answered.get(name);
    const newest =
      answer !== undefined && answer.uid === seen.uid && answer.generation > seen.generation ? answer : seen;
    return { replicas: newest.version === run.version ? (newest.replicas ?? 0) : 0, generation: newest.generation };
  }

  /** An autoscaler may choose any number except zero, at which it does nothing. */
  function isRight(run: VersionRun, replicas: number): boolean {
    return isAutoscaled(run) ? replicas > 0 : replicas === replicasOf(run);
  }

  /** An autoscaled version starts with as many pods as the version that it replaces has under the current load. */
  function replicasAtStart(run: VersionRun): number {
    const least = replicasOf(run);
    if (!isAutoscaled(run)) return least;
    let others = 0;
    for (const { facts } of expectations.get(run.app)?.values() ?? []) {
      const now = facts.version === run.version ? undefined : picture.applied.Deployment.get(facts.name);
      others = Math.max(others, now?.app === run.app ? (now.replicas ?? 0) : 0);
    }
    return Math.max(least, Math.min(others, run.spec.max_replicas ?? least));
  }

  async function applyAll(run: VersionRun, signal: AbortSignal): Promise<number> {
    const { inputs, deployment, autoscaler } = versionObjects(run, options);
    // Before the pods: a kubelet that misses a Secret waits a long time before it looks again.
    await Promise.all(inputs.map((manifest) => apply(run.app, manifest, signal)));
    const begins = scaleNow(run).replicas === 0;
    const now = await apply(run.app, deployment, signal);
    remember(now);
    const { replicas = 0 } = appliedFacts(now);
    const wanted = replicasAtStart(run);
    // A new Deployment has one replica, which no autoscaler has chosen.
    const enough = isRight(run, replicas) && !(begins && replicas < wanted);
    const [after] = await Promise.all([
      enough ? undefined : scale(deploymentName(run), wanted, signal),
      autoscaler === undefined ? undefined : apply(run.app, autoscaler, signal),
    ]);
    return (after ?? now).metadata?.generation ?? 0;
  }

  function isAsApplied(app: string, { kind, metadata }: Manifest): boolean {
    if (kind === 'PersistentVolumeClaim') return true;
    const { name } = metadata;
    const now = factsNow(app, kind, name);
    const own = expectations.get(app)?.get(`${kind}/${name}`);
    // If this process has not applied it, somebody may have changed it while no agent led.
    const intact = now !== undefined && !now.deleting && now.fingerprint === own?.facts.fingerprint;
    // The Service and a Deployment with volumes have one name for all versions.
    return intact && String(now.version) === metadata.labels?.[labels.version];
  }

  function isIntact(run: VersionRun): boolean {
    const { inputs, deployment, autoscaler } = versionObjects(run, options);
    const now = factsNow(run.app, 'Deployment', deployment.metadata.name);
    if (now?.content !== deployment.metadata.annotations?.[contentAnnotation]) return false;
    return [deployment, ...inputs, ...(autoscaler === undefined ? [] : [autoscaler])].every((manifest) =>
      isAsApplied(run.app, manifest),
    );
  }

  return {
    observed(kind, { type, name, value }) {
      const own = value.app === undefined ? undefined : expectations.get(value.app)?.get(`${kind}/${name}`);
      if (own === undefined) return;
      const { uid, fingerprint, generation } = own.facts;
      const isSame = value.fingerprint === fingerprint || value.generation > generation;
      if (value.uid === uid && (type === 'gone' || isSame)) own.unseenSinceMs = undefined;
    },
    wasRaised(run) {
      const name = deploymentName(run);
      const own = expectations.get(run.app)?.get(`Deployment/${name}`);
      const last = answered.get(name);
      return own?.facts.version === run.version && isRight(run, last?.replicas ?? 0);
    },
    wasLowered: (run) => answered.get(deploymentName(run))?.replicas === 0,
    wasServiceApplied: (run) =>
      expectations.get(run.app)?.get(`Service/${appObjectName(run.app)}`)?.facts.version === run.version,
    async raise(run, signal) {
      if (!isIntact(run)) return await applyAll(run, signal);
      const name = deploymentName(run);
      const now = scaleNow(run);
      if (isRight(run, now.replicas)) return now.generation;
      const after = await scale(name, replicasAtStart(run), signal);
      // It was deleted a moment ago, and the watch has not reported that yet.
      return after === undefined ? await applyAll(run, signal) : (after.metadata?.generation ?? 0);
    },
    async lower(deployment, signal) {
      await scale(deployment, 0, signal);
    },
    hasReplicas: (run) => isRight(run, scaleNow(run).replicas),
    isAtZero: (run) => scaleNow(run).replicas === 0,
    async applyService(run, signal) {
      await apply(run.app, serviceOf(run), signal);
    },
    isIntact,
    isServiceIntact: (run) => isAsApplied(run.app, serviceOf(run)),
    forgetVersion(app, version) {
      const own = expectations.get(app);
      const names: ReadonlySet<string> = new Set([versionObjectName(app, version), appObjectName(app)]);
      for (const key of own?.keys() ?? []) {
        const [kind = '', name = ''] = key.split('/');
        if (kind !== 'Service' && names.has(name)) own?.delete(key);
      }
      answered.delete(versionObjectName(app, version));
    },
    forget(app) {
      for (const key of expectations.get(app)?.keys() ?? []) answered.delete(key.split('/')[1] ?? '');
      expectations.delete(app);
    },
    forgetAll() {
      expectations.clear();
      answered.clear();
    },
  };
}
