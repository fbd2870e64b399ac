/**
 * Decides what a failed dial means for the target. A target that refuses is set aside at once. One that does not accept in time
 * may only be busy, its accept queue full: it is set aside if the app has others to take the calls. Otherwise it goes on with
 * one dial at a time, since the only target of an app is worth more than none. Earlier answers, whatever they were, play no part.
 */
import type { Log } from '../../shared/log.ts';
import type { CallApp } from '../call/call.ts';
import type { Probes } from './probes.ts';
import type { UpstreamTarget } from './target.ts';

export interface DialFailuresDeps {
  readonly probes: Pick<Probes, 'setAside'>;
  readonly metrics: { connectFailed(reason: 'refused' | 'timeout'): void; targetSetAside(): void };
  readonly log: Log;
  /** Asks the agent to look at the target. */
  readonly suspect: (app: CallApp, target: string) => void;
}

interface DialledApp extends CallApp {
  readonly targets: readonly UpstreamTarget[];
}

export type OnDialFailed = (app: DialledApp, target: UpstreamTarget, timedOut: boolean) => void;

export function createDialFailures({ probes, metrics, log, suspect }: DialFailuresDeps): OnDialFailed {
  return (app, target, timedOut) => {
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
    // A single timeout may be chance, or a full accept queue.
    if (!timedOut || target.failures > 1) suspect(app, target.id);
  };
}
