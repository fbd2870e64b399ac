/** Decides what is due for an app that is not being started or drained, and when to look at it again. */
import type { KeptAwake } from './keep-awake.ts';
import type { Phase } from './serving.ts';

/** A number: after so many milliseconds · minute: when the minute changes, for its running hours · change: not before something changes. */
export type NextLook = number | 'minute' | 'change';

export interface Due {
  /** start: the app is to run and does not · zero: it is idle. */
  readonly step: 'start' | 'zero' | undefined;
  /** Whether versions that are not served may be ended, if there are any. */
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
  /** The time without use after which it is idle; 0: never. */
  readonly idleMs: number;
  /** When it entered its phase. */
  readonly sinceMs: number;
  readonly nowMs: number;
  /** Judged from the routers' reports. */
  readonly isIdle: () => boolean;
}

/** How exactly the end of the idle time is met after calls have moved it. Routers report every two seconds. */
const looksPerPeriod = 100;

export function dueOf(app: Watched): Due {
  const { phase, keptAwake, hasLeftovers } = app;
  if (app.starting || phase.kind === 'draining') return { step: undefined, clear: false, next: 'change' };
  const rest: NextLook = hasLeftovers ? 0 : app.hasHours ? 'minute' : 'change';
  const leftMs = app.sinceMs + app.idleMs - app.nowMs;
  const isQuiet = (): boolean => app.idleMs > 0 && leftMs <= 0 && app.isIdle();
  const untilQuietMs = Math.max(leftMs, app.idleMs / looksPerPeriod);
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
