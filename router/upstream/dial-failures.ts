/**
 * What a failed dial means for the target. One that refuses is set aside at once. One that does not accept in time may only be
 * busy, its accept queue full: it is set aside where others are there to take the calls, and otherwise goes on by one dial at a
 * time, since the only target of an app is worth more than none. What was answered before, and how, has no part in this.
 */
import type { Log } from '../../shared/log.ts';
import type { Probes } from './probes.ts';
import type { Target, UpstreamApp } from './targets.ts';

export interface DialFailuresDeps {
  readonly probes: Pick<Probes, 'setAside'>;
  readonly metrics: { connectFailed(reason: 'refused' | 'timeout'): void; targetSetAside(): void };
  readonly log: Log;
  /** The agent is asked to look at the target. */
  readonly suspect: (app: UpstreamApp, target: string) => void;
}

export class DialFailures {
  readonly #deps: DialFailuresDeps;

  constructor(deps: DialFailuresDeps) {
    this.#deps = deps;
  }

  take(app: UpstreamApp, target: Target, timedOut: boolean): void {
    const { probes, metrics, log, suspect } = this.#deps;
    metrics.connectFailed(timedOut ? 'timeout' : 'refused');
    target.dialFailed();
    const others = app.targets.some((other) => other !== target && !other.setAside);
    const spared = timedOut && !others;
    const about = { app: app.name, target: target.id, host: target.host, port: target.port };
    log.warn(about, timedOut ? 'target does not accept connections in time' : 'target refuses connections');
    if (!spared && !target.setAside) {
      metrics.targetSetAside();
      probes.setAside(app, target);
    }
    // Once may be chance, or a full accept queue.
    if (!timedOut || target.failures > 1) suspect(app, target.id);
  }
}
