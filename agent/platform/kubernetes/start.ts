/** Makes one version run: objects, then a wait for the first target that ends as soon as there is a verdict. */
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/rpc/clock.ts';
import type { StartOptions, VersionRun } from '../platform.ts';
import type { Objects } from './apply.ts';
import type { Desired } from './desired.ts';
import type { PodFacts } from './facts.ts';
import type { PodReports } from './pod-reports.ts';
import { deploymentName } from './objects.ts';
import { judge, type Symptom, type SymptomTimes } from './rollout.ts';
import type { Targets } from './targets.ts';
import { watchUntil } from './wait.ts';
import type { Picture } from './watch.ts';
import type { Workloads } from './workloads.ts';

export interface StartDeps {
  readonly objects: Pick<Objects, 'delete'>;
  readonly desired: Desired;
  readonly picture: Pick<Picture, 'applied' | 'podsOf' | 'onChange' | 'synced'>;
  readonly targets: Targets;
  readonly workloads: Workloads;
  readonly reports: PodReports;
  readonly log: Log;
  readonly clock: Clock;
}

/** Reasons under which the kubelet lets minutes pass before it tries again. */
const inBackOff: ReadonlySet<string> = new Set(['CrashLoopBackOff', 'ImagePullBackOff', 'ErrImagePull']);

export async function startVersion(deps: StartDeps, run: VersionRun, options: StartOptions): Promise<void> {
  const { desired, picture, targets, workloads } = deps;
  const { app, version } = run;
  const { signal, onPhase, suspects = [] } = options;
  desired.up(run);
  if (suspects.length > 0) await targets.verify(app, version, suspects, signal);
  if (targets.of(app, version).length > 0) return;

  onPhase('schedule', 'applies the objects of the version');
  await picture.synced(signal);
  // Each start is a fresh try: a pod that waits out a pause of minutes is replaced by one that does not.
  const stale = picture.podsOf(app, version).filter((pod) => !pod.leaving && inBackOff.has(pod.waiting?.reason ?? ''));
  const generation = await desired.exclusive(app, signal, async () => {
    const [raised] = await Promise.all([
      workloads.raise(run, signal),
      ...stale.map((pod) => deps.objects.delete('Pod', pod.name, signal, { gracePeriodSeconds: 0, uid: pod.uid })),
    ]);
    return raised;
  });

  const ignored = new Set(stale.map(({ uid }) => uid));
  const failure = await firstTarget(deps, run, options, { generation, ignored });
  if (failure !== undefined) throw await failed(deps, run, failure, signal);
}

/** @returns what is wrong, or undefined when a target answers. */
async function firstTarget(
  { picture, targets, clock }: StartDeps,
  run: VersionRun,
  { signal, onPhase }: StartOptions,
  begun: { readonly generation: number; readonly ignored: ReadonlySet<string> },
): Promise<Symptom | undefined> {
  const { app, version } = run;
  const podsNow = (): PodFacts[] =>
    picture.podsOf(app, version).filter((pod) => !pod.leaving && !begun.ignored.has(pod.uid));
  const priorExits = new Map(podsNow().map((pod) => [pod.uid, pod.exits]));
  let since: SymptomTimes = new Map();
  let told = '';

  function look(): { readonly done: Symptom | undefined } | { readonly againMs: number } {
    const deployment = picture.applied.Deployment.get(deploymentName(run));
    // Pods of an earlier stop that the controller did not end before it was told to keep them.
    if (targets.hasRetired(app, version) && (deployment?.observedGeneration ?? 0) >= begun.generation) {
      targets.unretire(app, version);
    }
    if (targets.of(app, version).length > 0) return { done: undefined };
    const seen = judge(
      { pods: podsNow(), replicaFailure: deployment?.replicaFailure, priorExits },
      run.config,
      since,
      clock.nowMs(),
    );
    since = seen.since;
    if (seen.verdict.kind === 'failed') return { done: seen.verdict.symptom };
    const { phase, message, againMs } = seen.verdict;
    if (told !== message) onPhase(phase, message);
    told = message;
    return { againMs };
  }

  return await watchUntil({
    look,
    subscribe(listener) {
      const ends = [picture.onChange(listener), targets.onChange(listener)];
      return () => {
        for (const end of ends) end();
      };
    },
    clock,
    signal,
  });
}

async function failed(deps: StartDeps, run: VersionRun, symptom: Symptom, signal: AbortSignal): Promise<AppError> {
  const { code, phase, pod } = symptom;
  const [logs, warning] = await Promise.all([
    pod === undefined || phase !== 'start' ? [] : deps.reports.lastLines(pod, signal),
    pod === undefined || symptom.key !== 'nothing-runs' ? undefined : deps.reports.lastWarning(pod, signal),
  ]);
  const message = warning === undefined ? symptom.message : `${symptom.message}: ${warning}`;
  deps.log.info({ app: run.app, version: run.version, code, phase }, `start failed: ${message}`);
  return new AppError(code, message, { phase, data: { logs } });
}
