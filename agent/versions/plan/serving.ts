/** The route and the views of an app: pure functions of its record and of the state of its machine. */
import { isDeepStrictEqual } from 'node:util';
import { defaultWakeRules, type AppConfig } from '../../../shared/protocol/app-config.ts';
import { maskedSecret } from '../../../shared/protocol/app-spec.ts';
import {
  holdLimitOfRouter,
  type Route,
  type Serving,
  type StartTimings,
  type Target,
} from '../../../shared/protocol/routes.ts';
import type { AppView, Failure, VersionView } from '../../../shared/protocol/views.ts';
import { loadedVersion, type AppRecord, type VersionRecord } from '../../store/records.ts';
import type { KeptAwake } from './keep-awake.ts';

/**
 * asleep: nothing is to run · serving: the live version has answered and is to run · draining: the drain handshake with the routers
 * is under way · failed: calls get the failure.
 */
export type Phase =
  | { readonly kind: 'asleep' }
  | { readonly kind: 'serving'; readonly timings: StartTimings }
  | { readonly kind: 'draining'; readonly timings: StartTimings }
  | { readonly kind: 'failed'; readonly failure: Failure };

export interface Situation {
  readonly record: AppRecord;
  readonly phase: Phase;
  /** A start of the live version is under way. */
  readonly starting: boolean;
  /** The targets of the live version that answer. */
  readonly targets: readonly Target[];
  readonly keptAwake: KeptAwake | undefined;
}

export function servingOf({ record, phase, starting, targets }: Omit<Situation, 'keptAwake'>): Serving {
  switch (phase.kind) {
    case 'failed': {
      const { code, phase: step, owner } = phase.failure;
      return { state: 'failed', failure: { code, phase: step, owner } };
    }
    case 'draining':
      return { state: 'hold', reason: 'draining' };
    case 'serving':
      if (targets.length > 0)
        return { state: 'ready', targets: [...targets], pending: record.pending, timings: phase.timings };
      return { state: 'hold', reason: 'starting' };
    case 'asleep':
      if (starting) return { state: 'hold', reason: 'starting' };
      return { state: 'hold', reason: record.good !== null && record.good !== record.live ? 'updating' : 'asleep' };
  }
}

export function routeOf(situation: Situation, config: AppConfig): Route {
  const { record } = situation;
  const { protocol } = liveOf(record).spec;
  return {
    app: record.name,
    host: record.host,
    path: record.path,
    stripPath: config.strip_path,
    version: record.live,
    serving: servingOf(situation),
    holdMaxCalls: config.hold.max_calls || holdLimitOfRouter,
    holdTimeoutMs: config.hold.timeout_secs * 1_000,
    maxConcurrency: config.max_concurrency,
    ...(!config.add_slash && { addSlash: false as const }),
    ...(!config.prefix_locations && { prefixLocations: false as const }),
    ...(!config.prefix_cookies && { prefixCookies: false as const }),
    ...(config.max_concurrency_total > 0 && { maxConcurrencyTotal: config.max_concurrency_total }),
    ...(config.hold.queue_timeout_secs > 0 && { queueTimeoutMs: config.hold.queue_timeout_secs * 1_000 }),
    ...(protocol === 'h2c' && { protocol }),
    ...(config.upgrade_max_age_secs > 0 && { upgradeMaxAgeMs: config.upgrade_max_age_secs * 1_000 }),
    ...(config.waiting_page && { waitingPage: true as const }),
    ...(!isDeepStrictEqual(config.wake.rules, defaultWakeRules) && { wakeRules: config.wake.rules }),
  };
}

export function stateOf(situation: Situation): AppView['state'] {
  const serving = servingOf(situation);
  switch (serving.state) {
    case 'ready':
      return 'ready';
    case 'failed':
      return 'failed';
    case 'hold':
      if (serving.reason === 'draining') return 'draining';
      return serving.reason === 'starting' ? 'starting' : 'asleep';
  }
}

export function appViewOf(situation: Situation): Omit<AppView, 'url'> {
  const { record, targets } = situation;
  const live = liveOf(record);
  return {
    name: record.name,
    path: live.spec.path,
    state: stateOf(situation),
    liveVersion: record.live,
    pendingVersion: record.pending,
    spec: { ...live.spec, secrets: masked(live.spec.secrets), build_secrets: masked(live.spec.build_secrets) },
    targets: targets.length,
    keptAwake: situation.keptAwake ?? null,
    ...problemOf(situation),
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

/** A failure is shown until a version answers in its place, even if calls do not get it any longer. */
function problemOf({ record, phase }: Situation): Pick<AppView, 'failure' | 'failedVersion'> {
  const live = liveOf(record);
  if (phase.kind === 'failed') return { failure: phase.failure, failedVersion: live.version };
  if (live.failure && live.outcome !== 'good') return { failure: live.failure, failedVersion: live.version };
  const newest = record.versions.get(record.latest);
  if (newest?.failure && newest.outcome === 'failed' && newest.version > live.version)
    return { failure: newest.failure, failedVersion: newest.version };
  return { failure: null, failedVersion: null };
}

function liveOf(record: AppRecord): VersionRecord {
  return loadedVersion(record, record.live);
}

export function versionViewOf(version: VersionRecord, situation: Situation): VersionView {
  const { record } = situation;
  const live = version.version === record.live;
  return {
    app: record.name,
    version: version.version,
    live,
    state: versionState(version, situation),
    image: version.spec.image ?? null,
    imageDigest: version.imageDigest,
    source: version.spec.source ?? null,
    sourceDigest: version.sourceDigest,
    imageTag: version.imageTag,
    timings: version.timings,
    failure: version.failure,
    createdAt: version.createdAt,
    createdBy: version.createdBy,
  };
}

function versionState(version: VersionRecord, situation: Situation): VersionView['state'] {
  const { record } = situation;
  if (version.version === record.live) {
    const state = stateOf(situation);
    return state === 'asleep' && version.outcome === 'declared' ? 'declared' : state;
  }
  if (version.outcome === 'failed') return 'failed';
  return version.version === record.pending ? 'declared' : 'superseded';
}

function masked(secrets: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(secrets).map((key) => [key, maskedSecret]));
}
