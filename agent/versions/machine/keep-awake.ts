/** Which apps run whether they are called or not: by `min_replicas`, or while it is one of their `running_hours`. */
import { RunningHours } from '../../../shared/protocol/running-hours.ts';
import type { AppBook } from './app-book.ts';
import type { KeptAwake } from '../plan/due.ts';

export interface KeepAwake {
  /** By its newest version, which is to run. */
  of(app: Pick<AppBook, 'record' | 'run'>): KeptAwake | undefined;
}

/** Of different hours that are kept, parsed; apps mostly have the same. */
const maxKept = 1_000;

/** @param wallMs since 1970. */
export function createKeepAwake(wallMs: () => number): KeepAwake {
  const parsed = new Map<string, RunningHours>();

  function hoursOf(texts: readonly string[]): RunningHours {
    const key = texts.join('\n');
    let hours = parsed.get(key);
    if (hours === undefined) {
      if (parsed.size >= maxKept) parsed.clear();
      parsed.set(key, (hours = new RunningHours(texts)));
    }
    return hours;
  }

  return {
    of(app) {
      const { live, pending, good } = app.record;
      if (good === null) return undefined; // nothing runs before the first call
      const { spec, config } = app.run(pending ?? live);
      const texts = config.container.running_hours;
      if (spec.min_replicas > 0) return 'min_replicas';
      return texts.length > 0 && hoursOf(texts).within(wallMs()) ? 'running_hours' : undefined;
    },
  };
}
