/** Logs the answers of apps that are not valid HTTP, so that the owner of an app sees what to correct: some for each app, then counts. */
import type { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Call } from '../call/call.ts';

/** One line for each app in this time; a thousand answers a second have the same fault. */
const quietMs = 10_000;
/** Apps that are remembered. */
const maxApps = 1_000;

export class InvalidAnswers {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #apps = new Map<string, { loggedAtMs: number; since: number }>();

  constructor({ log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  add(app: { readonly name: string }, target: { readonly id: string }, call: Call, error: AppError): void {
    const nowMs = this.#clock.nowMs();
    const before = this.#apps.get(app.name);
    if (before !== undefined && nowMs - before.loggedAtMs < quietMs) {
      before.since += 1;
      return;
    }
    if (before === undefined && this.#apps.size >= maxApps) this.#apps.clear();
    this.#apps.set(app.name, { loggedAtMs: nowMs, since: 0 });
    const { head } = call;
    const about = { app: app.name, target: target.id, requestId: head.requestId, method: head.method };
    this.#log.warn({ ...about, error: error.message, before: before?.since ?? 0 }, 'app answered with invalid HTTP');
  }
}
