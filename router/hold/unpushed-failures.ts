/**
 * A failed start reaches the router in two ways: as the answer to its ensure, and a moment later as a push of the route, which says
 * more. The answer counts only if no push follows it.
 */
import type { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';

export interface UnpushedFailuresDeps {
  readonly clock: Clock;
  /** `sinceMs` is when the agent answered. */
  readonly listeners: readonly { failed(app: App, error: AppError, sinceMs: number): void }[];
}

/** Time for the push to follow. */
const pushGraceMs = 1_000;

export class UnpushedFailures {
  readonly #deps: UnpushedFailuresDeps;
  readonly #graces = new Set<() => void>();

  constructor(deps: UnpushedFailuresDeps) {
    this.#deps = deps;
  }

  add(app: App, version: number, error: AppError): void {
    const { clock, listeners } = this.#deps;
    const { route } = app;
    if (route.version !== version) return;
    const sinceMs = clock.nowMs();
    const cancel = clock.after(pushGraceMs, () => {
      this.#graces.delete(cancel);
      if (app.route !== route) return;
      for (const listener of listeners) listener.failed(app, error, sinceMs);
    });
    this.#graces.add(cancel);
  }

  close(): void {
    for (const cancel of this.#graces) cancel();
    this.#graces.clear();
  }
}
