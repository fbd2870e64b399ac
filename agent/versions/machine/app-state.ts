/** The record of one app in memory. What the agent learns about it is queued for Postgres and never waited for. */
import { AppError } from '../../../shared/errors.ts';
import { resolveAppConfig, type AppConfig } from '../../../shared/protocol/app-config.ts';
import type { AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { Failure } from '../../../shared/protocol/views.ts';
import type { Pin, VersionRun } from '../../platform/platform.ts';
import type { Learnt } from '../../store/app-store.ts';
import type { Outbox } from '../../store/outbox.ts';
import { failureOf, loadedVersion, type AppRecord, type NewEvent, type VersionRecord } from '../../store/records.ts';

/** A declaration of an app that exists. */
export interface Declared extends Pick<
  AppRecord,
  'host' | 'path' | 'live' | 'pending' | 'latest' | 'generation' | 'updatedAt'
> {
  readonly added: VersionRecord | undefined;
}

type Pointers = Pick<AppRecord, 'live' | 'pending' | 'good' | 'kept'>;

interface AppStateDeps {
  readonly outbox: Pick<Outbox, 'add'>;
  readonly defaults: AppConfig;
}

/** Versions that stay in memory besides those that are pointed to, because work under way may still need them. */
const recentVersions = 10;

export class AppState {
  readonly #deps: AppStateDeps;
  /** Configs are asked for on every push and every look, so they are resolved once per spec. */
  readonly #configs = new WeakMap<AppSpec, AppConfig>();
  #record: AppRecord;

  constructor(deps: AppStateDeps, record: AppRecord) {
    this.#deps = deps;
    this.#record = record;
  }

  get record(): AppRecord {
    return this.#record;
  }

  /** The config of the live version. */
  get config(): AppConfig {
    return this.#configOf(this.version(this.#record.live));
  }

  version(number: number): VersionRecord {
    return loadedVersion(this.#record, number);
  }

  run(number: number): VersionRun {
    const version = this.version(number);
    const { spec, imageDigest, sourceDigest, imageTag } = version;
    const pin = { imageDigest, sourceDigest, imageTag };
    return { app: this.#record.name, version: number, spec, config: this.#configOf(version), pin };
  }

  /** @returns the version to run for a call that asks for this one, or for any. @throws AppError version_not_found, superseded */
  wanted(asked: number | undefined): number {
    const { name, live, pending, latest } = this.#record;
    const wanted = asked ?? pending ?? live;
    if (wanted > latest) throw new AppError('version_not_found', `app ${name} has no version ${wanted}`);
    if (wanted !== live && wanted !== pending)
      throw new AppError('superseded', `version ${wanted} of ${name} is not the live one; version ${live} is`);
    return wanted;
  }

  /** Takes a committed declaration over. What was learnt while it was being committed stays. */
  declare({ host, path, live, pending, latest, generation, updatedAt, added }: Declared): void {
    const { live: liveBefore, good, kept } = this.#record;
    const pointedTo = new Set([liveBefore, live, pending, good, kept]);
    const versions = new Map(
      [...this.#record.versions].filter(([number]) => pointedTo.has(number) || number > latest - recentVersions),
    );
    // A version that is known already (a rollback) may have learnt more since the declaration read it.
    if (added && !versions.has(added.version)) versions.set(added.version, added);
    const declared = { versions, host, path, pending, latest, generation, updatedAt };
    this.#record = { ...this.#record, ...declared, live: pending === null ? live : liveBefore };
    // Pointers that moved during the commit were queued under the old generation, and Postgres ignores those from now on.
    this.savePointers();
  }

  /** Moves pointers, and queues all of them with the events. */
  savePointers(moved: Partial<Pointers> = {}, ...events: readonly NewEvent[]): void {
    this.#record = { ...this.#record, ...moved };
    const { name, live, pending, good, generation } = this.#record;
    this.#deps.outbox.add({ app: name, pointers: { live, pending, good, generation }, events });
  }

  /** The version answers. @returns the version that is no longer kept for a rollback because of that, if any. */
  answered(number: number, timings: StartTimings): number | null {
    const { good, kept } = this.#record;
    if (this.version(number).outcome === 'good' && good === number) return null;
    this.#learn(number, { outcome: 'good', failure: null, timings });
    const event = this.event('version.ready', `answers after ${timings.rolloutMs ?? 0} ms`, number);
    this.savePointers({ good: number, kept: good }, event);
    return kept === number ? null : kept;
  }

  failed(number: number, error: AppError): Failure {
    const failure = failureOf(error, 'start');
    const { outcome } = this.version(number);
    this.#learn(number, { outcome: outcome === 'good' ? 'good' : 'failed', failure });
    this.recordEvent(this.event('version.failed', `${failure.code}: ${failure.message}`, number));
    return failure;
  }

  /** The image of the version is known. */
  pinned(number: number, { imageDigest, imageTag }: Pick<Pin, 'imageDigest' | 'imageTag'>): void {
    const known = this.version(number);
    if (imageDigest === null || (known.imageDigest === imageDigest && known.imageTag === imageTag)) return;
    this.#learn(number, { imageDigest, imageTag });
  }

  recordEvent(event: NewEvent): void {
    this.#deps.outbox.add({ app: this.#record.name, events: [event] });
  }

  /** An event of this app, by the agent itself unless an actor is named. */
  event(kind: string, message: string, version: number, actor = 'holdfast'): NewEvent {
    return { actor, app: this.#record.name, version, kind, message };
  }

  #configOf(version: VersionRecord): AppConfig {
    let config = this.#configs.get(version.spec);
    if (!config) this.#configs.set(version.spec, (config = resolveAppConfig(this.#deps.defaults, version.spec.config)));
    return config;
  }

  #learn(number: number, learnt: Learnt): void {
    const versions = new Map(this.#record.versions);
    versions.set(number, { ...this.version(number), ...learnt });
    this.#record = { ...this.#record, versions };
    this.#deps.outbox.add({ app: this.#record.name, version: { number, ...learnt }, events: [] });
  }
}
