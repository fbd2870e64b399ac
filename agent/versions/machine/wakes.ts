/** Who has an app started, and how often calls may wake it (`wake.max_per_hour`). One for each app, kept by its machine. */
import { AppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { VersionMetrics } from '../version-metrics.ts';
import type { WakeCause } from '../../../shared/protocol/wake-cause.ts';

/** Who asks. */
export interface Starter {
  /** Name of the token. */
  readonly actor: string;
  /** It is a router, for a call; else a person or a tool, whom the budget does not hold up. */
  readonly forCall: boolean;
  /** The call, where the router tells. */
  readonly cause: WakeCause | undefined;
}

export interface WakesDeps {
  readonly clock: Clock;
  readonly metrics: Pick<VersionMetrics, 'wake'>;
  readonly record: (kind: string, message: string, actor: string) => void;
}

export const wakeWindowMs = 3_600_000;
/** The most that `wake.max_per_hour` can say. */
const maxKept = 3_600;

export class Wakes {
  readonly #deps: WakesDeps;
  /** Those of the last hour, oldest first. */
  #atMs: number[] = [];
  #asleep = false;
  #toldExhausted = false;

  constructor(deps: WakesDeps) {
    this.#deps = deps;
  }

  /** It has answered, and went to zero for want of calls: the next start is a wake. */
  fellAsleep(): void {
    this.#asleep = true;
  }

  /** It answers, or another version is live: a start from here on is none. */
  awake(): void {
    this.#asleep = false;
  }

  /** @param agesMs of wakes under an earlier leader. */
  restore(agesMs: readonly number[]): void {
    const nowMs = this.#deps.clock.nowMs();
    this.#atMs = [...agesMs.map((ageMs) => nowMs - ageMs), ...this.#atMs].toSorted((a, b) => a - b).slice(-maxKept);
  }

  /**
   * A start is about to begin. The first start of a version is no wake, nor is one after an update that failed.
   * @throws AppError wake_budget_exhausted
   */
  begin(starter: Starter | undefined, maxPerHour: number): void {
    const { clock, metrics, record } = this.#deps;
    const nowMs = clock.nowMs();
    if (this.#asleep) {
      this.#atMs = this.#atMs.filter((atMs) => nowMs - atMs < wakeWindowMs);
      // Each wake frees its place an hour later; of more than are allowed now, the ones too many count no longer.
      const freesMs = maxPerHour === 0 ? undefined : this.#atMs.at(-maxPerHour);
      if (freesMs !== undefined && starter?.forCall) this.#refuse(starter, maxPerHour, freesMs + wakeWindowMs - nowMs);
      this.#toldExhausted = false;
      if (!starter) return;
      metrics.wake(starter.forCall ? 'call' : 'person');
      this.#atMs.push(nowMs);
      if (this.#atMs.length > maxKept) this.#atMs.shift();
    }
    if (starter) record(this.#asleep ? 'app.woken' : 'version.called', byWhom(starter), starter.actor);
  }

  #refuse(starter: Starter, maxPerHour: number, retryAfterMs: number): never {
    const limit = `it was woken ${maxPerHour} times within an hour, as often as wake.max_per_hour allows`;
    this.#deps.metrics.wake('refused');
    if (!this.#toldExhausted) {
      this.#toldExhausted = true;
      const secs = Math.ceil(retryAfterMs / 1_000);
      const message = `${limit}; calls are refused for ${secs} s, the first one: ${byWhom(starter)}`;
      this.#deps.record('app.wakes_exhausted', message, starter.actor);
    }
    throw new AppError('wake_budget_exhausted', `The app is asleep, and ${limit}.`, { retryAfterMs });
  }
}

function byWhom({ actor, forCall, cause }: Starter): string {
  if (!cause) return forCall ? 'by a call' : `by ${actor}`;
  const { method, host, path, client, userAgent, requestId, router } = cause;
  const agent = userAgent === '' ? 'no User-Agent' : JSON.stringify(userAgent);
  return `by ${method} ${host}${path} from ${client || 'unknown'}, ${agent}, request ${requestId}, router ${router}`;
}
