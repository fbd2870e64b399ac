/** Decides which apps run whether they are called or not: by `min_replicas`, or during their `running_hours`. */
import { RunningHours } from '../../../shared/protocol/running-hours.ts';
import type { VersionRun } from '../../platform/platform.ts';

/** Why an app that has answered once runs whether it is called or not. */
export type KeptAwake = 'min_replicas' | 'running_hours';

/** Parsed hours that are kept in memory. Most apps share theirs. */
const maxParsed = 1_000;

/** @param wallMs milliseconds since 1970. */
export function createKeepAwake(wallMs: () => number) {
  const parsed = new Map<string, RunningHours>();

  function hoursOf(texts: readonly string[]): RunningHours {
    const key = texts.join('\n');
    let hours = parsed.get(key);
    if (hours === undefined) {
      if (parsed.size >= maxParsed) parsed.clear();
      parsed.set(key, (hours = new RunningHours(texts)));
    }
    return hours;
  }

  return {
    /** @param run of the version that was declared last. */
    of({ spec, config }: Pick<VersionRun, 'spec' | 'config'>): KeptAwake | undefined {
      if (spec.min_replicas > 0) return 'min_replicas';
      const texts = config.container.running_hours;
      return texts.length > 0 && hoursOf(texts).within(wallMs()) ? 'running_hours' : undefined;
    },
  };
}

export type KeepAwake = ReturnType<typeof createKeepAwake>;
