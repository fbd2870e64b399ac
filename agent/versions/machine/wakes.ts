/** Records who starts an app, and bounds how often calls may wake it (`wake.max_per_hour`). There is one per app. */
import { AppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Starter, VersionMetrics } from './machine-deps.ts';

export interface WakesDeps {
  readonly clock: Clock;
  readonly metrics: Pick<VersionMetrics, 'wake'>;
  readonly record: (kind: string, message: string, actor: string) => void;
}

export const wakeWindowMs = 3_600_000;
/** The highest value of `wake.max_per_hour`. */
const maxKept = 3_600;

export class Wakes {
  readonly #deps: WakesDeps;
  /** The wakes of the last hour, oldest first. */
  #atMs: number[] = [];
  #asleep = false;
  #exhaustionRecorded = false;

  constructor(deps: WakesDeps) {
    this.#deps = deps;
  }

  /** The app has answered and went to zero without calls: the next start is a wake. */
  fellAsleep(): void {
    this.#asleep = true;
  }

  /** The app answers, or another version is live: the next start is not a wake. */
  awake(): void {
    this.#asleep = false;
  }

  /** @param agesMs of the wakes under an earlier leader. */
  restore(agesMs: readonly number[]): void {
    const nowMs = this.#deps.clock.nowMs();
    this.#atMs = [...agesMs.map((ageMs) => nowMs - ageMs), ...this.#atMs].toSorted((a, b) => a - b).slice(-maxKept);
  }

  /**
   * Call it before a start. The first start of a version is not a wake, nor is a start after an update that failed.
   * @throws AppError wake_budget_exhausted
   */
  begin(starter: Starter | undefined, maxPerHour: number): void {
    const { clock, metrics, record } = this.#deps;
    const nowMs = clock.nowMs();
    if (this.#asleep) {
      this.#atMs = this.#atMs.filter((atMs) => nowMs - atMs < wakeWindowMs);
      // Each wake frees its place an hour later. If the budget was lowered, only the newest `maxPerHour` wakes count.
      const oldestMs = maxPerHour === 0 ? undefined : this.#atMs.at(-maxPerHour);
      if (oldestMs !== undefined && starter?.forCall)
        this.#refuse(starter, maxPerHour, oldestMs + wakeWindowMs - nowMs);
      this.#exhaustionRecorded = false;
      if (!starter) return;
      metrics.wake(starter.forCall ? 'call' : 'person');
      this.#atMs.push(nowMs);
      if (this.#atMs.length > maxKept) this.#atMs.shift();
    }
    if (starter) record(this.#asleep ? 'app.woken' : 'version.called', describe(starter), starter.actor);
  }

  #refuse(starter: Starter, maxPerHour: number, retryAfterMs: number): never {
    const limit = `it was woken ${maxPerHour} times within an hour, as often as wake.max_per_hour allows`;
    this.#deps.metrics.wake('refused');
    if (!this.#exhaustionRecorded) {
      this.#exhaustionRecorded = true;
      const secs = Math.ceil(retryAfterMs / 1_000);
      const message = `${limit}; calls are refused for ${secs} s, the first one: ${describe(starter)}`;
      this.#deps.record('app.wakes_exhausted', message, starter.actor);
    }
    throw new AppError('wake_budget_exhausted', `The app is asleep, and ${limit}.`, { retryAfterMs });
  }
}

function describe({ actor, forCall, cause }: Starter): string {
  if (!cause) return forCall ? 'by a call' : `by ${actor}`;
  const { method, host, path, client, userAgent, requestId, router } = cause;
  const agent = userAgent === '' ? 'no User-Agent' : JSON.stringify(userAgent);
  return `by ${method} ${host}${path} from ${client || 'unknown'}, ${agent}, request ${requestId}, router ${router}`;
}
