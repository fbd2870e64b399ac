/** What the clock makes due for an app that nothing is being done to, and when it has to be looked at again. */
import type { Phase } from './serving.ts';

/** Why an app that has answered once runs whether it is called or not. */
export type KeptAwake = 'min_replicas' | 'running_hours';

/** After so many milliseconds · minute: when the minute has changed, for its running hours · change: not before something changes. */
export type NextLook = number | 'minute' | 'change';

export interface Due {
  /** start: it is to run and does not · zero: it is idle. */
  readonly step: 'start' | 'zero' | undefined;
  /** Versions that are no longer served may be taken away, if there are any. */
  readonly clear: boolean;
  readonly next: NextLook;
}

export interface Watched {
  readonly phase: Phase;
  /** A start is under way. */
  readonly starting: boolean;
  readonly hasPending: boolean;
  readonly hasLeftovers: boolean;
  readonly keptAwake: KeptAwake | undefined;
  readonly hasHours: boolean;
  /** 0: never. */
  readonly idleMs: number;
  /** Since when it has been as it is. */
  readonly sinceMs: number;
  readonly nowMs: number;
  /** By what routers tell. */
  readonly isIdle: () => boolean;
}

/** How exactly the end of the idle time is met where calls have moved it; routers tell every two seconds. */
const looksInPeriod = 100;

export function dueOf(app: Watched): Due {
  const { phase, keptAwake, hasLeftovers } = app;
  if (app.starting || phase.kind === 'draining') return { step: undefined, clear: false, next: 'change' };
  const rest: NextLook = hasLeftovers ? 0 : app.hasHours ? 'minute' : 'change';
  const leftMs = app.sinceMs + app.idleMs - app.nowMs;
  const isQuiet = (): boolean => app.idleMs > 0 && leftMs <= 0 && app.isIdle();
  const untilQuietMs = Math.max(leftMs, app.idleMs / looksInPeriod);
  switch (phase.kind) {
    case 'asleep':
      if (keptAwake !== undefined) return { step: 'start', clear: false, next: 'change' };
      if (!hasLeftovers || app.idleMs === 0)
        return { step: undefined, clear: false, next: app.hasHours ? 'minute' : 'change' };
      return { step: undefined, clear: isQuiet(), next: untilQuietMs };
    case 'failed':
      return { step: undefined, clear: true, next: rest };
    case 'serving':
      if (keptAwake !== undefined)
        return { step: app.hasPending ? 'start' : undefined, clear: true, next: app.hasPending ? 'change' : rest };
      if (app.idleMs === 0) return { step: undefined, clear: true, next: rest };
      if (isQuiet()) return { step: 'zero', clear: true, next: 'change' };
      return { step: undefined, clear: true, next: hasLeftovers ? 0 : untilQuietMs };
    default:
      return phase satisfies never;
  }
}
