/** Apps and versions as they are stored and as the leader keeps them in memory. */
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { StartTimings } from '../../shared/protocol/routes.ts';
import type { Failure } from '../../shared/protocol/views.ts';

/** declared: never answered a call yet · good: has answered · failed: see `failure`. */
export type Outcome = 'declared' | 'good' | 'failed';

export interface VersionRecord {
  readonly version: number;
  /** With the values of its secrets. */
  readonly spec: AppSpec;
  readonly imageDigest: string | null;
  readonly sourceDigest: string | null;
  /** Tag of the image that was built of the source, once it was. */
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
  /** What calls get. */
  readonly live: number;
  /** Waits for the next call while `live` answers (`update.hold = false`). */
  readonly pending: number | null;
  /** The last version that answered. */
  readonly good: number | null;
  /** The one that answered before `good`: stays at zero replicas for a rollback. */
  readonly kept: number | null;
  /** Grows with each declaration: what an older one led to does not overwrite it. */
  readonly generation: number;
  /** The highest number ever given. */
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
