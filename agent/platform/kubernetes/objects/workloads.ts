/** Brings the objects of versions into the cluster, and remembers what should be there so that drift can be seen. */
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

/** The watch tells of an apply within milliseconds; later than this it is believed whatever it shows. */
const untoldMs = 5_000;

/** What was last applied, as the API server gave it back. */
interface Applied {
  readonly facts: AppliedFacts;
  /** While the watch has not told of it: the moment of the answer. */
  untoldSinceMs: number | undefined;
}

export interface Workloads {
  /**
   * The version's objects as they should be, with replicas. One patch where only the replicas differ, nothing where
   * nothing does.
   * @returns the generation of the Deployment.
   */
  raise(run: VersionRun, signal: AbortSignal): Promise<number>;
  /** The Deployment to zero, where it exists. */
  lower(deployment: string, signal: AbortSignal): Promise<void>;
  applyService(run: VersionRun, signal: AbortSignal): Promise<void>;
  /** As last told by the API server, to a request of ours or to the watch. */
  hasReplicas(run: VersionRun): boolean;
  /** What the watch tells: from then on it is what counts, and not the answer to our own apply. */
  told(kind: WatchedKind, change: Change<AppliedFacts>): void;
  /** Whether this process has made it so: what differs then was changed by somebody else. */
  wasRaised(run: VersionRun): boolean;
  wasLowered(run: VersionRun): boolean;
  wasServiceApplied(run: VersionRun): boolean;
  isAtZero(run: VersionRun): boolean;
  /** Whether everything but the replicas is as it was last applied, as far as the watches know. */
  isIntact(run: VersionRun): boolean;
  isServiceIntact(run: VersionRun): boolean;
  /** Its objects are being deleted. */
  forgetVersion(app: string, version: number): void;
  forget(app: string): void;
  /** Somebody else may apply from now on. */
  forgetAll(): void;
}

export function createWorkloads(deps: {
  readonly objects: Objects;
  readonly picture: Pick<Picture, 'applied'>;
  readonly options: ObjectsOptions;
  readonly clock: Clock;
}): Workloads {
  const { objects, picture, options, clock } = deps;
  /** By app and `Kind/name`. */
  const expectations = new Map<string, Map<string, Applied>>();

  /** What requests were answered about Deployments, by name. */
  const answered = new Map<string, Pick<AppliedFacts, 'uid' | 'generation' | 'version' | 'replicas'>>();

  async function apply(app: string, manifest: Manifest, signal: AbortSignal): Promise<Kinds[ManifestKind]> {
    const key = `${manifest.kind}/${manifest.metadata.name}`;
    try {
      const now = await objects.apply(manifest, signal);
      const own = expectations.get(app) ?? new Map<string, Applied>();
      const facts = appliedFacts(now);
      const { kind } = manifest;
      const seen = kind === 'PersistentVolumeClaim' ? facts : picture.applied[kind].get(facts.name);
      const isTold = seen?.uid === facts.uid && seen?.fingerprint === facts.fingerprint;
      expectations.set(app, own.set(key, { facts, untoldSinceMs: isTold ? undefined : clock.nowMs() }));
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

  /** As the watch tells, or as our own apply was answered where the watch has not come to that yet. */
  function factsNow(app: string, kind: WatchedKind, name: string): AppliedFacts | undefined {
    const seen = picture.applied[kind].get(name);
    const own = expectations.get(app)?.get(`${kind}/${name}`);
    if (own?.untoldSinceMs === undefined || clock.nowMs() - own.untoldSinceMs > untoldMs) return seen;
    return seen?.deleting === true ? seen : own.facts;
  }

  /** The watch comes later than the answer to a request: whichever is of the newer generation tells. */
  function scaleNow(run: VersionRun): { readonly replicas: number; readonly generation: number } {
    const name = deploymentName(run);
    const seen = factsNow(run.app, 'Deployment', name);
    if (seen === undefined) return { replicas: 0, generation: 0 };
    const told = answered.get(name);
    const newest = told !== undefined && told.uid === seen.uid && told.generation > seen.generation ? told : seen;
    return { replicas: newest.version === run.version ? (newest.replicas ?? 0) : 0, generation: newest.generation };
  }

  /** An autoscaler may have any number but zero, at which it rests. */
  function isRight(run: VersionRun, replicas: number): boolean {
    return isAutoscaled(run) ? replicas > 0 : replicas === replicasOf(run);
  }

  /** An autoscaled version begins with as many pods as the one that it follows has under the load of now. */
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
    // Before the pods: a kubelet that misses a Secret waits long before it looks again.
    await Promise.all(inputs.map((manifest) => apply(run.app, manifest, signal)));
    const begins = scaleNow(run).replicas === 0;
    const now = await apply(run.app, deployment, signal);
    remember(now);
    const { replicas = 0 } = appliedFacts(now);
    const wanted = replicasAtStart(run);
    // One that is new has one, which is no autoscaler's choice.
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
    // Nothing expected: not applied by this process, and somebody may have changed it while no agent looked.
    const intact = now !== undefined && !now.deleting && now.fingerprint === own?.facts.fingerprint;
    // Under one name there may be what was applied for another version: the Service, the Deployment with volumes.
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
    told(kind, { type, name, value }) {
      const own = value.app === undefined ? undefined : expectations.get(value.app)?.get(`${kind}/${name}`);
      if (own === undefined) return;
      const { uid, fingerprint, generation } = own.facts;
      const isSame = value.fingerprint === fingerprint || value.generation > generation;
      if (value.uid === uid && (type === 'gone' || isSame)) own.untoldSinceMs = undefined;
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
      // Deleted a moment ago, and the watch has not told yet.
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
