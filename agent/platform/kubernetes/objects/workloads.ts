/** Applies the objects of versions and scales them, and tells whether they are as they should be. */
import { AppError } from '../../../../shared/errors.ts';
import type { Kinds } from '../../../kube/kinds.ts';
import type { VersionRun } from '../../platform.ts';
import {
  contentAnnotation,
  deploymentName,
  hasRightReplicas,
  manifestRevision,
  replicasAtStart,
  serviceOf,
  versionObjects,
  type Manifest,
  type ManifestKind,
  type ObjectsOptions,
} from '../manifests/manifests.ts';
import { appObjectName } from '../manifests/names.ts';
import type { AppliedFacts } from '../picture/facts.ts';
import type { AppliedObjects } from './applied-objects.ts';
import { platformError, type Objects } from './objects.ts';

interface WorkloadsDeps {
  readonly objects: Pick<Objects, 'apply' | 'scale'>;
  readonly applied: AppliedObjects;
  readonly options: ObjectsOptions;
}

export class Workloads {
  readonly #objects: WorkloadsDeps['objects'];
  readonly #applied: AppliedObjects;
  readonly #options: ObjectsOptions;
  /** Fingerprints of Deployments of other releases, by UID, as they were first seen. */
  readonly #left = new Map<string, string>();

  constructor({ objects, applied, options }: WorkloadsDeps) {
    this.#objects = objects;
    this.#applied = applied;
    this.#options = options;
  }

  /**
   * Makes the objects of the version as they should be, with replicas: one patch if only the replicas differ, no request
   * if nothing differs.
   * @returns the generation of the Deployment.
   */
  async raise(run: VersionRun, signal: AbortSignal): Promise<number> {
    if (!this.isIntact(run)) return await this.#applyAll(run, signal);
    const { replicas, generation } = this.#applied.scaleNow(run);
    if (hasRightReplicas(run, replicas)) return generation;
    const after = await this.#scale(deploymentName(run), this.#replicasAtStart(run), signal);
    // It was deleted a moment ago, and the watch has not reported that yet.
    return after === undefined ? await this.#applyAll(run, signal) : (after.metadata?.generation ?? 0);
  }

  /** Scales the Deployment to zero if it exists. */
  async lower(deployment: string, signal: AbortSignal): Promise<void> {
    await this.#scale(deployment, 0, signal);
  }

  async applyService(run: VersionRun, signal: AbortSignal): Promise<void> {
    await this.#apply(run.app, serviceOf(run), signal);
  }

  /** Whether the version has its replicas, by the latest answer or watch event. */
  hasReplicas(run: VersionRun): boolean {
    return hasRightReplicas(run, this.#applied.scaleNow(run).replicas);
  }

  isAtZero(run: VersionRun): boolean {
    return this.#applied.scaleNow(run).replicas === 0;
  }

  /** Whether everything except the replicas is as it was applied last, as far as the watches know. */
  isIntact(run: VersionRun): boolean {
    const { inputs, deployment, autoscaler } = versionObjects(run, this.#options);
    const { name, annotations } = deployment.metadata;
    const now = this.#applied.now(run.app, 'Deployment', name);
    if (now !== undefined && this.#isLeft(run, now))
      return inputs.every((manifest) => this.#applied.exists(run.app, manifest));
    if (now?.content !== annotations?.[contentAnnotation]) return false;
    return [deployment, ...inputs, ...(autoscaler === undefined ? [] : [autoscaler])].every((manifest) =>
      this.#applied.isAsApplied(run.app, manifest),
    );
  }

  /**
   * Whether another release of the agent has made the Deployment, and it runs: it stays as it is until its next start or edit, since
   * replacing its pods would change nothing that was declared.
   */
  #isLeft(
    run: VersionRun,
    { name, uid, version, revision, deleting, replicas = 0, fingerprint }: AppliedFacts,
  ): boolean {
    if (revision === manifestRevision || deleting || version !== run.version || replicas === 0) return false;
    if (this.#applied.versionApplied(run.app, 'Deployment', name) !== undefined) return false;
    const key = uid ?? name;
    if (!this.#left.has(key)) this.#left.set(key, fingerprint);
    return this.#left.get(key) === fingerprint;
  }

  isServiceIntact(run: VersionRun): boolean {
    return this.#applied.isAsApplied(run.app, serviceOf(run));
  }

  /** Whether this process has raised the version: if so, a difference was made by somebody else. */
  wasRaised(run: VersionRun): boolean {
    const isOurs = this.#applied.versionApplied(run.app, 'Deployment', deploymentName(run)) === run.version;
    return isOurs && hasRightReplicas(run, this.#applied.replicasAnswered(run) ?? 0);
  }

  wasLowered(run: VersionRun): boolean {
    return this.#applied.replicasAnswered(run) === 0;
  }

  wasServiceApplied(run: VersionRun): boolean {
    return this.#applied.versionApplied(run.app, 'Service', appObjectName(run.app)) === run.version;
  }

  async #applyAll(run: VersionRun, signal: AbortSignal): Promise<number> {
    const { inputs, deployment, autoscaler } = versionObjects(run, this.#options);
    // Before the pods: a kubelet that misses a Secret waits a long time before it looks again.
    await Promise.all(inputs.map((manifest) => this.#apply(run.app, manifest, signal)));
    const begins = this.isAtZero(run);
    const now = await this.#apply(run.app, deployment, signal);
    const replicas = this.#applied.replicasAnswered(run) ?? 0;
    const wanted = this.#replicasAtStart(run);
    // A new Deployment has one replica, which no autoscaler has chosen.
    const enough = hasRightReplicas(run, replicas) && !(begins && replicas < wanted);
    const [after] = await Promise.all([
      enough ? undefined : this.#scale(deploymentName(run), wanted, signal),
      autoscaler === undefined ? undefined : this.#apply(run.app, autoscaler, signal),
    ]);
    return (after ?? now).metadata?.generation ?? 0;
  }

  async #apply(app: string, manifest: Manifest, signal: AbortSignal): Promise<Kinds[ManifestKind]> {
    const { kind, metadata } = manifest;
    const owner = this.#applied.otherOwner(app, manifest);
    if (owner !== undefined)
      throw new AppError(
        'app_invalid',
        `${kind}/${metadata.name} belongs to app ${owner}: the names of the two apps are cut to the same name; rename this app`,
        { phase: 'schedule', data: { logs: [] } },
      );
    try {
      const now = await this.#objects.apply(manifest, signal);
      this.#applied.applied(app, kind, now);
      return now;
    } catch (error) {
      throw platformError(error, `${kind}/${metadata.name}`);
    }
  }

  async #scale(name: string, replicas: number, signal: AbortSignal): Promise<Kinds['Deployment'] | undefined> {
    try {
      const now = await this.#objects.scale(name, replicas, signal);
      if (now !== undefined) this.#applied.scaled(now);
      return now;
    } catch (error) {
      throw platformError(error, `Deployment/${name}`);
    }
  }

  #replicasAtStart(run: VersionRun): number {
    return replicasAtStart(run, this.#applied.replicasOfOthers(run));
  }
}
