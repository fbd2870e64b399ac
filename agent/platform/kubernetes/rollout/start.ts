/** Makes one version run: applies its objects, then waits for its first target or a verdict. */
import { AppError } from '../../../../shared/errors.ts';
import type { Log } from '../../../../shared/log.ts';
import type { Clock } from '../../../../shared/wait/clock.ts';
import type { StartOptions, VersionRun } from '../../platform.ts';
import type { Objects } from '../objects/objects.ts';
import type { Desired } from '../objects/desired.ts';
import type { PodFacts } from '../picture/facts.ts';
import type { PodReports } from './pod-reports.ts';
import { deploymentName } from '../manifests/manifests.ts';
import { Inquiry } from './inquiry.ts';
import type { Prober } from './probe.ts';
import { judgeRollout, type PodSymptom } from './verdict.ts';
import type { SymptomTimes } from '../../../kube/symptoms.ts';
import type { Targets } from './targets.ts';
import { watchUntil } from '../../../../shared/wait/watch-until.ts';
import type { Picture } from '../picture/picture.ts';
import type { Workloads } from '../objects/workloads.ts';

export interface StartDeps {
  readonly objects: Pick<Objects, 'delete'>;
  readonly desired: Desired;
  readonly picture: Pick<Picture, 'applied' | 'podsOf' | 'onChange' | 'synced'>;
  readonly targets: Targets;
  readonly workloads: Workloads;
  readonly reports: PodReports;
  readonly prober: Pick<Prober, 'once'>;
  readonly log: Log;
  readonly clock: Clock;
}

/** Reasons for which the kubelet waits up to minutes before it tries again. */
const inBackOff: ReadonlySet<string> = new Set(['CrashLoopBackOff', 'ImagePullBackOff', 'ErrImagePull']);

/**
 * A pod that an earlier stop is ending may still answer. The ReplicaSet controller is the last to know that pods are wanted
 * again, and another watch reports their end. After this time both have happened, and a pod that is still there stays.
 */
const endingMs = 300;

export async function startVersion(deps: StartDeps, run: VersionRun, options: StartOptions): Promise<void> {
  const { desired, picture, targets, workloads } = deps;
  const { app, version } = run;
  const { signal, onPhase, suspects = [] } = options;
  // Nothing is started for a caller who has left.
  signal.throwIfAborted();
  desired.up(run);
  if (suspects.length > 0) await targets.verify(app, version, suspects, signal);
  if (targets.of(app, version).length > 0) return;

  onPhase('schedule', 'applies the objects of the version');
  await picture.synced(signal);
  // Each start is a fresh attempt: a pod that waits in a back-off of minutes is replaced.
  const stale = picture.podsOf(app, version).filter((pod) => !pod.leaving && inBackOff.has(pod.waiting?.reason ?? ''));
  const generation = await desired.exclusive(app, signal, async () => {
    const [raised] = await Promise.all([workloads.raise(run, signal), replace(deps, stale, signal)]);
    return raised;
  });

  const wait: Wait = {
    generation,
    replaced: new Set(stale.map(({ uid }) => uid)),
    priorExits: new Map(),
    since: new Map(),
    keptSinceMs: undefined,
  };
  for (const pod of podsOf(deps, run, wait)) wait.priorExits.set(pod.uid, pod.exits);
  for (;;) {
    const outcome = await firstOutcome(deps, run, options, wait);
    if (outcome.kind === 'answers') return;
    if (outcome.kind === 'failed') throw await failed(deps, run, outcome.symptom, signal);
    for (const { uid } of outcome.pods) wait.replaced.add(uid);
    await replace(deps, outcome.pods, signal);
  }
}

interface Wait {
  /** Generation of the Deployment that this start has applied. */
  readonly generation: number;
  /** UIDs of the pods that this start has deleted. */
  readonly replaced: Set<string>;
  /** Exits before this start, by pod UID. */
  readonly priorExits: Map<string, number>;
  since: SymptomTimes;
  /** When the Deployment controller was known to have seen that generation. */
  keptSinceMs: number | undefined;
}

type Outcome =
  | { readonly kind: 'answers' }
  | { readonly kind: 'failed'; readonly symptom: PodSymptom }
  /** Pods of an app that once answered and crashed repeatedly: the kubelet makes them wait, new pods start at once. */
  | { readonly kind: 'backOff'; readonly pods: readonly PodFacts[] };

function podsOf({ picture }: StartDeps, { app, version }: VersionRun, { replaced }: Wait): PodFacts[] {
  return picture.podsOf(app, version).filter((pod) => !pod.leaving && !replaced.has(pod.uid));
}

async function replace({ objects }: StartDeps, pods: readonly PodFacts[], signal: AbortSignal): Promise<void> {
  // Their container does not run, so they need no grace.
  await Promise.all(pods.map(({ name, uid }) => objects.delete('Pod', name, signal, { gracePeriodSeconds: 0, uid })));
}

async function firstOutcome(
  deps: StartDeps,
  run: VersionRun,
  { signal, onPhase }: StartOptions,
  wait: Wait,
): Promise<Outcome> {
  const { picture, targets, clock } = deps;
  const { app, version } = run;
  let reported = '';
  let tell = (): void => undefined;
  const { reports, prober } = deps;
  const inquiry = new Inquiry({ reports, prober, clock, pods: () => podsOf(deps, run, wait), onChange: () => tell() });

  function look(): { readonly done: Outcome } | { readonly againMs: number } {
    const deployment = picture.applied.Deployment.get(deploymentName(run));
    const survivalLeftMs = survivalLeft(targets.hasRetired(app, version), deployment?.observedGeneration ?? 0);
    if (survivalLeftMs <= 0) targets.unretire(app, version);
    if (targets.of(app, version).length > 0) return { done: { kind: 'answers' } };
    const pods = podsOf(deps, run, wait);
    const backOff = pods.filter(
      (pod) => pod.waiting?.reason === 'CrashLoopBackOff' && (wait.priorExits.get(pod.uid) ?? 0) > 0,
    );
    if (backOff.length > 0) return { done: { kind: 'backOff', pods: backOff } };
    const { verdict, since } = judgeRollout(
      {
        pods,
        replicaFailure: deployment?.replicaFailure,
        priorExits: wait.priorExits,
        outcomeOf: (pod) => targets.outcomeOf(app, pod.uid),
        findingOf: (pod) => inquiry.of(pod),
      },
      run.config,
      wait.since,
      clock.nowMs(),
    );
    wait.since = since;
    if (verdict.kind === 'failed') return { done: verdict };
    if (reported !== verdict.message) onPhase(verdict.phase, verdict.message);
    reported = verdict.message;
    return { againMs: survivalLeftMs <= 0 ? verdict.againMs : Math.min(verdict.againMs, survivalLeftMs) };
  }

  /** Time until the pods of an earlier stop are known to stay; Infinity if there are none, or the controller has not seen the start. */
  function survivalLeft(hasRetired: boolean, observedGeneration: number): number {
    if (!hasRetired || observedGeneration < wait.generation) return Infinity;
    wait.keptSinceMs ??= clock.nowMs();
    return wait.keptSinceMs + endingMs - clock.nowMs();
  }

  const over = new AbortController();
  const asking = inquiry.run(AbortSignal.any([signal, over.signal]));
  try {
    return await watchUntil({
      look,
      subscribe(listener) {
        tell = listener;
        const ends = [picture.onChange(listener), targets.onChange(listener)];
        return () => {
          for (const end of ends) end();
        };
      },
      clock,
      signal,
    });
  } finally {
    over.abort();
    await asking;
  }
}

async function failed(deps: StartDeps, run: VersionRun, symptom: PodSymptom, signal: AbortSignal): Promise<AppError> {
  const { code, phase, pod } = symptom;
  const [logs, warning] = await Promise.all([
    pod === undefined || phase !== 'start' ? [] : deps.reports.lastLines(pod, signal),
    pod === undefined || symptom.key !== 'nothing-runs' ? undefined : deps.reports.lastWarning(pod, signal),
  ]);
  const message = warning === undefined ? symptom.message : `${symptom.message}: ${warning}`;
  deps.log.info({ app: run.app, version: run.version, code, phase }, `the version could not be started: ${message}`);
  return new AppError(code, message, { phase, data: { logs } });
}
