/** Points the Service to a version, and waits until it routes to no other. */
import type { Kinds } from '../../../kube/kinds.ts';
import type { Clock } from '../../../../shared/wait/clock.ts';
import { sleep } from '../../../../shared/wait/sleep.ts';
import type { VersionRun } from '../../platform.ts';
import type { Objects } from '../objects/objects.ts';
import type { Desired } from '../objects/desired.ts';
import { appObjectName } from '../manifests/names.ts';
import type { Picture } from '../picture/picture.ts';
import type { Workloads } from '../objects/workloads.ts';
import { watchUntil } from '../../../../shared/wait/watch-until.ts';

interface SwitchDeps {
  readonly objects: Pick<Objects, 'list'>;
  readonly desired: Desired;
  readonly picture: Pick<Picture, 'pods' | 'onChange' | 'synced'>;
  readonly workloads: Pick<Workloads, 'applyService' | 'isServiceIntact'>;
  readonly clock: Clock;
}

/** Look again after this time: a change may be missed while the slices are being read. */
const lookAgainMs = 1_000;
const paceMs = 20;

export async function switchService(deps: SwitchDeps, run: VersionRun, signal: AbortSignal): Promise<void> {
  const { objects, desired, picture, workloads, clock } = deps;
  desired.service(run);
  await picture.synced(signal);
  // On most wakes the Service is right already, and no request is needed.
  if (!workloads.isServiceIntact(run)) {
    await desired.exclusive(run.app, signal, async () => {
      await workloads.applyService(run, signal);
    });
  }
  const versionOf = (pod: string): number | undefined => picture.pods.get(pod)?.version;
  const selector = `kubernetes.io/service-name=${appObjectName(run.app)}`;
  let changed = false;
  const unsubscribe = picture.onChange(() => {
    changed = true;
  });
  try {
    for (;;) {
      signal.throwIfAborted();
      changed = false;
      // Read from the API server: the watch may still show the slices from before the switch.
      const slices = await objects.list('EndpointSlice', selector, signal);
      if (!leadsElsewhere(slices, run.version, versionOf)) return;
      // Changes of other apps wake this too, so bound the reads per second.
      await sleep(clock, paceMs, signal);
      if (!changed) await nextChange(deps, signal);
    }
  } finally {
    unsubscribe();
  }
}

async function nextChange({ picture, clock }: SwitchDeps, signal: AbortSignal): Promise<void> {
  let looks = 0;
  await watchUntil({
    look: () => ((looks += 1) > 1 ? { done: undefined } : { againMs: lookAgainMs }),
    subscribe: (listener) => picture.onChange(listener),
    clock,
    signal,
  });
}

/** Whether an endpoint that gets traffic belongs to another version. @param versionOf gives the version of a pod by its name. */
export function leadsElsewhere(
  slices: readonly Kinds['EndpointSlice'][],
  version: number,
  versionOf: (pod: string) => number | undefined,
): boolean {
  return slices.some((slice) =>
    (slice.endpoints ?? []).some(({ conditions, targetRef }) => {
      // EndpointSlice API: absent conditions count as true.
      const used = conditions?.ready !== false || conditions.serving === true;
      return used && versionOf(targetRef?.name ?? '') !== version;
    }),
  );
}
