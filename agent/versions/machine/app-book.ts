/** The record of one app in memory, and what is learnt of it on the way to Postgres (written behind, never waited for). */
import { AppError } from '../../../shared/errors.ts';
import { resolveAppConfig, type AppConfig } from '../../../shared/protocol/app-config.ts';
import { type AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { Failure } from '../../../shared/protocol/views.ts';
import { failureOf } from '../../store/failure.ts';
import type { Pin, VersionRun } from '../../platform/platform.ts';
import type { Outbox } from '../../store/outbox.ts';
import type { AppRecord, NewEvent, VersionRecord } from '../../store/records.ts';

/** What a declaration says of an app that exists. */
export interface Declared extends Pick<
  AppRecord,
  'host' | 'path' | 'live' | 'pending' | 'latest' | 'generation' | 'updatedAt'
> {
  readonly added: VersionRecord | undefined;
}

export type Pointers = Pick<AppRecord, 'live' | 'pending' | 'good' | 'kept'>;

interface BookDeps {
  readonly outbox: Pick<Outbox, 'add'>;
  readonly defaults: AppConfig;
}

/** Versions that stay in memory beside those that are pointed to: what is under way may still need them. */
const recentVersions = 10;

export class AppBook {
  readonly #deps: BookDeps;
  /** Asked for on every push and every look for what is idle. */
  readonly #configs = new WeakMap<AppSpec, AppConfig>();
  #record: AppRecord;

  constructor(deps: BookDeps, record: AppRecord) {
    this.#deps = deps;
    this.#record = record;
  }

  get record(): AppRecord {
    return this.#record;
  }

  version(version: number): VersionRecord {
    const found = this.#record.versions.get(version);
    if (!found) throw new AppError('internal', `version ${version} of ${this.#record.name} is not loaded`);
    return found;
  }

  /** @returns the version that is to run for a call. @throws AppError version_not_found, superseded */
  wanted(asked: number | undefined): number {
    const { name, live, pending, latest } = this.#record;
    const wanted = asked ?? pending ?? live;
    if (wanted > latest) throw new AppError('version_not_found', `app ${name} has no version ${wanted}`);
    if (wanted !== live && wanted !== pending)
      throw new AppError('superseded', `version ${wanted} of ${name} is not the live one; version ${live} is`);
    return wanted;
  }

  /** Of the live version. */
  get config(): AppConfig {
    return this.#configOf(this.version(this.#record.live));
  }

  run(number: number): VersionRun {
    const version = this.version(number);
    return {
      app: this.#record.name,
      version: number,
      spec: version.spec,
      config: this.#configOf(version),
      pin: { imageDigest: version.imageDigest, sourceDigest: version.sourceDigest, imageTag: version.imageTag },
    };
  }

  /** Takes what was declared; what was learnt while it was being written stays. */
  declare({ host, path, live, pending, latest, generation, updatedAt, added }: Declared): void {
    const { good, kept } = this.#record;
    const versions = new Map(
      [...this.#record.versions].filter(
        ([version]) =>
          [this.#record.live, live, pending, good, kept].includes(version) || version > latest - recentVersions,
      ),
    );
    // One that is known already (a rollback) may have learnt more since it was read.
    if (added && !versions.has(added.version)) versions.set(added.version, added);
    const now = { versions, host, path, pending, latest, generation, updatedAt };
    this.#record = { ...this.#record, ...now, live: pending === null ? live : this.#record.live };
    this.point({});
  }

  /** Moves pointers and tells of it. */
  point(pointers: Partial<Pointers>, ...events: readonly NewEvent[]): void {
    this.#record = { ...this.#record, ...pointers };
    const { name, live, pending, good, generation } = this.#record;
    this.#deps.outbox.add({ app: name, pointers: { live, pending, good, generation }, events });
  }

  /** The version answers. @returns the version that is no longer kept for a rollback because of it, if any. */
  answered(version: number, timings: NonNullable<VersionRecord['timings']>): number | null {
    const { good, kept } = this.#record;
    if (this.version(version).outcome === 'good' && good === version) return null;
    this.#learn(version, { outcome: 'good', failure: null, timings });
    const event = this.event('version.ready', `answers after ${timings.rolloutMs ?? 0} ms`, version);
    this.point({ good: version, kept: good }, event);
    return kept === version ? null : kept;
  }

  failed(version: number, error: AppError): Failure {
    const failure = failureOf(error, 'start');
    const { outcome } = this.version(version);
    this.#learn(version, { outcome: outcome === 'good' ? 'good' : 'failed', failure });
    this.point({}, this.event('version.failed', `${failure.code}: ${failure.message}`, version));
    return failure;
  }

  pinned(number: number, { imageDigest, imageTag }: Pick<Pin, 'imageDigest' | 'imageTag'>): void {
    const known = this.version(number);
    if (imageDigest === null || (known.imageDigest === imageDigest && known.imageTag === imageTag)) return;
    this.#learn(number, { imageDigest, imageTag });
  }

  /** Of the live version, by someone else than the agent. */
  happened(kind: string, message: string, actor: string): void {
    this.point({}, { ...this.event(kind, message, this.#record.live), actor });
  }

  event(kind: string, message: string, version: number): NewEvent {
    return { actor: 'holdfast', app: this.#record.name, version, kind, message };
  }

  #configOf(version: VersionRecord): AppConfig {
    const known = this.#configs.get(version.spec);
    if (known) return known;
    const config = resolveAppConfig(this.#deps.defaults, version.spec.config);
    this.#configs.set(version.spec, config);
    return config;
  }

  #learn(
    number: number,
    learnt: Partial<Pick<VersionRecord, 'outcome' | 'failure' | 'timings' | 'imageDigest' | 'imageTag'>>,
  ): void {
    const versions = new Map(this.#record.versions);
    versions.set(number, { ...this.version(number), ...learnt });
    this.#record = { ...this.#record, versions };
    const { outcome, failure, timings, imageDigest, imageTag } = learnt;
    this.#deps.outbox.add({
      app: this.#record.name,
      version: {
        number,
        ...(outcome === undefined ? {} : { outcome }),
        ...(failure === undefined ? {} : { failure }),
        ...(timings === undefined || timings === null ? {} : { timings }),
        ...(imageDigest === undefined || imageDigest === null ? {} : { imageDigest }),
        ...(imageTag === undefined || imageTag === null ? {} : { imageTag }),
      },
      events: [],
    });
  }
}
