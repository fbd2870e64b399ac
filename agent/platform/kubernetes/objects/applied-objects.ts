/** Remembers what this process has applied, and combines it with what the watches show: answers arrive before watch events. */
import type { Clock } from '../../../../shared/wait/clock.ts';
import type { Change } from '../../../kube/informer.ts';
import type { Kinds } from '../../../kube/kinds.ts';
import { labels } from '../../../kube/labels.ts';
import type { VersionRun } from '../../platform.ts';
import { deploymentName, type Manifest, type ManifestKind } from '../manifests/manifests.ts';
import { appObjectName, versionObjectName } from '../manifests/names.ts';
import { appliedFacts, type AppliedFacts } from '../picture/facts.ts';
import type { Picture, WatchedKind } from '../picture/picture.ts';

/** The watch reports an apply within milliseconds. After this time it is trusted, whatever it shows. */
const trustWatchAfterMs = 5_000;

/** The object that was applied last, as the API server returned it. */
interface Applied {
  readonly facts: AppliedFacts;
  /** When the API server answered; undefined once the watch has reported the object. */
  unseenSinceMs: number | undefined;
}

export class AppliedObjects {
  readonly #picture: Pick<Picture, 'applied'>;
  readonly #clock: Clock;
  /** What was applied, by app and `Kind/name`. */
  readonly #applied = new Map<string, Map<string, Applied>>();
  /** The latest answers about Deployments, by name. */
  readonly #answered = new Map<string, Pick<AppliedFacts, 'uid' | 'generation' | 'version' | 'replicas'>>();

  constructor({ picture, clock }: { readonly picture: Pick<Picture, 'applied'>; readonly clock: Clock }) {
    this.#picture = picture;
    this.#clock = clock;
  }

  /** Takes the answer to an apply. */
  applied(app: string, kind: ManifestKind, object: Kinds[ManifestKind]): void {
    const facts = appliedFacts(object);
    const seen = kind === 'PersistentVolumeClaim' ? facts : this.#picture.applied[kind].get(facts.name);
    const isSeen = seen?.uid === facts.uid && seen?.fingerprint === facts.fingerprint;
    const own = this.#applied.get(app) ?? new Map<string, Applied>();
    own.set(`${kind}/${facts.name}`, { facts, unseenSinceMs: isSeen ? undefined : this.#clock.nowMs() });
    this.#applied.set(app, own);
    if (kind === 'Deployment') this.scaled(object);
  }

  /** Takes an answer that tells the replicas of a Deployment. */
  scaled(deployment: Kinds[ManifestKind]): void {
    const { name, uid, generation, version, replicas } = appliedFacts(deployment);
    this.#answered.set(name, { uid, generation, version, replicas });
  }

  /** Takes a watch event. From then on it counts, and not the answer to our own apply. */
  observed(kind: WatchedKind, { type, name, value }: Change<AppliedFacts>): void {
    const own = value.app === undefined ? undefined : this.#applied.get(value.app)?.get(`${kind}/${name}`);
    if (own === undefined) return;
    const { uid, fingerprint, generation } = own.facts;
    const isSame = value.fingerprint === fingerprint || value.generation > generation;
    if (value.uid === uid && (type === 'gone' || isSame)) own.unseenSinceMs = undefined;
  }

  /** The version for which this process has applied the object last. */
  versionApplied(app: string, kind: ManifestKind, name: string): number | undefined {
    return this.#applied.get(app)?.get(`${kind}/${name}`)?.facts.version;
  }

  /** The replicas that the API server has answered last. */
  replicasAnswered(run: VersionRun): number | undefined {
    return this.#answered.get(deploymentName(run))?.replicas;
  }

  /** The object as the watch shows it, or as our own apply was answered if the watch has not reported that yet. */
  now(app: string, kind: WatchedKind, name: string): AppliedFacts | undefined {
    const seen = this.#picture.applied[kind].get(name);
    const own = this.#applied.get(app)?.get(`${kind}/${name}`);
    if (own?.unseenSinceMs === undefined || this.#clock.nowMs() - own.unseenSinceMs > trustWatchAfterMs) return seen;
    return seen?.deleting === true ? seen : own.facts;
  }

  /** The replicas of the version. The watch reports later than requests are answered, so the newer generation counts. */
  scaleNow(run: VersionRun): { readonly replicas: number; readonly generation: number } {
    const name = deploymentName(run);
    const seen = this.now(run.app, 'Deployment', name);
    if (seen === undefined) return { replicas: 0, generation: 0 };
    const answer = this.#answered.get(name);
    const isNewer = answer !== undefined && answer.uid === seen.uid && answer.generation > seen.generation;
    const { version, replicas = 0, generation } = isNewer ? answer : seen;
    return { replicas: version === run.version ? replicas : 0, generation };
  }

  /** The highest number of replicas that another version of the app has. */
  replicasOfOthers({ app, version }: VersionRun): number {
    let most = 0;
    for (const { facts } of this.#applied.get(app)?.values() ?? []) {
      const other = facts.version === version ? undefined : this.#picture.applied.Deployment.get(facts.name);
      if (other?.app === app) most = Math.max(most, other.replicas ?? 0);
    }
    return most;
  }

  /** Whether the object is as this process has applied it; if it has not, somebody may have changed it while no agent led. */
  isAsApplied(app: string, { kind, metadata }: Manifest): boolean {
    if (kind === 'PersistentVolumeClaim') return true;
    const { name } = metadata;
    const now = this.now(app, kind, name);
    const own = this.#applied.get(app)?.get(`${kind}/${name}`);
    const intact = now !== undefined && !now.deleting && now.fingerprint === own?.facts.fingerprint;
    // The Service and a Deployment with volumes have one name for all versions.
    return intact && String(now.version) === metadata.labels?.[labels.version];
  }

  /** The other app that has the object: long names are cut, so two can be made to meet. */
  otherOwner(app: string, { kind, metadata }: Manifest): string | undefined {
    if (kind === 'PersistentVolumeClaim') return undefined;
    const owner = this.#picture.applied[kind].get(metadata.name)?.app;
    return owner === app ? undefined : owner;
  }

  /** Whether the object is there, whoever applied it. */
  exists(app: string, { kind, metadata }: Manifest): boolean {
    return kind === 'PersistentVolumeClaim' || this.now(app, kind, metadata.name)?.deleting === false;
  }

  /** Forgets a version whose objects are being deleted. */
  forgetVersion(app: string, version: number): void {
    const own = this.#applied.get(app);
    const names: ReadonlySet<string> = new Set([versionObjectName(app, version), appObjectName(app)]);
    for (const key of own?.keys() ?? []) {
      const [kind = '', name = ''] = key.split('/');
      if (kind !== 'Service' && names.has(name)) own?.delete(key);
    }
    this.#answered.delete(versionObjectName(app, version));
  }

  forget(app: string): void {
    for (const key of this.#applied.get(app)?.keys() ?? []) this.#answered.delete(key.split('/')[1] ?? '');
    this.#applied.delete(app);
  }

  /** Forgets everything: another agent may apply from now on. */
  forgetAll(): void {
    this.#applied.clear();
    this.#answered.clear();
  }
}
