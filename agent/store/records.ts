/** Apps and versions as they are stored, and as the leader keeps them in memory. */
import { AppError, type FailurePhase } from '../../shared/errors.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { StartTimings } from '../../shared/protocol/routes.ts';
import type { Failure } from '../../shared/protocol/views.ts';

/** declared: has not answered a call yet · good: has answered · failed: see `failure`. */
export type Outcome = 'declared' | 'good' | 'failed';

export interface VersionRecord {
  readonly version: number;
  /** The spec, with the values of its secrets. */
  readonly spec: AppSpec;
  readonly imageDigest: string | null;
  readonly sourceDigest: string | null;
  /** The tag of the image that is built from the source; null until the tag is known. */
  readonly imageTag: string | null;
  readonly outcome: Outcome;
  readonly failure: Failure | null;
  readonly timings: StartTimings | null;
  readonly createdAt: string;
  readonly createdBy: string;
}

export interface AppRecord {
  readonly name: string;
  readonly host: string;
  readonly path: string;
  /** The version that gets the calls. */
  readonly live: number;
  /** The version that starts at the next call while `live` answers (`update.hold = false`). */
  readonly pending: number | null;
  /** The last version that answered. */
  readonly good: number | null;
  /** The one that answered before `good`: it stays at zero replicas for a rollback. */
  readonly kept: number | null;
  /** Grows with each declaration: what an older declaration led to does not overwrite a newer one. */
  readonly generation: number;
  /** The highest version number so far. */
  readonly latest: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** At least live, pending, good and kept. */
  readonly versions: ReadonlyMap<number, VersionRecord>;
}

export interface NewEvent {
  readonly actor: string;
  readonly app: string | null;
  readonly version: number | null;
  readonly kind: string;
  readonly message: string;
}

/** @throws AppError internal when the record does not hold the version. */
export function loadedVersion({ name, versions }: Pick<AppRecord, 'name' | 'versions'>, number: number): VersionRecord {
  const version = versions.get(number);
  if (!version) throw new AppError('internal', `version ${number} of app ${name} is not loaded`);
  return version;
}

/** The version that was declared last: the pending one, else the live one. */
export function declaredVersion(record: AppRecord): VersionRecord {
  return loadedVersion(record, record.pending ?? record.live);
}

/** An error as it is kept with a version or a build. @param phase of an error that names none. */
export function failureOf(error: AppError, phase: FailurePhase): Failure {
  return {
    code: error.code,
    phase: error.phase ?? phase,
    owner: error.owner,
    message: error.message,
    logs: logLinesOf(error),
    at: new Date().toISOString(),
  };
}

/** The last log lines that came with an error. */
export function logLinesOf({ data }: AppError): string[] {
  const logs = data?.['logs'];
  return Array.isArray(logs) ? logs.map(String) : [];
}
