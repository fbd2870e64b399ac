/**
 * Where a build is judged by its Job and pod: wait, ended (its log says why), or failed. Pure, in the manner of
 * platform/kubernetes/rollout/verdict.ts: what is seen becomes symptoms, each with the time that it may last.
 */
import type { ErrorCode } from '../../../shared/error-codes.ts';
import type { AgentConfig } from '../../config/config.ts';
import { judge, passingGraceMs, pullGraceMs, type Symptom, type SymptomTimes } from '../../kube/symptoms.ts';
import type { BuildPodFacts, ContainerFacts, JobFacts } from './build-facts.ts';

export interface BuildObservation {
  /** undefined if the Job does not exist. */
  readonly job: JobFacts | undefined;
  readonly pod: BuildPodFacts | undefined;
  /** Whether a pod of this Job was seen before. */
  readonly hadPod: boolean;
  /** Why the Job controller cannot create a pod, if it says so. */
  readonly podRefused: string | undefined;
}

type Failure = Pick<Symptom, 'code' | 'phase' | 'message'>;

type Outcome =
  /** `termination` is the executor's termination message. */
  | { readonly kind: 'succeeded'; readonly termination: string | undefined }
  /** The executor failed, and its log says why. */
  | { readonly kind: 'ended'; readonly exitCode: number }
  | ({ readonly kind: 'failed' } & Failure);

export type BuildVerdict = Outcome | { readonly kind: 'waiting'; readonly message: string; readonly againMs: number };

/** Between the end of a pod and the condition of the Job that says why. */
const conditionGraceMs = 5_000;
const noPodGraceMs = 60_000;
const nothingRunsMs = 10 * 60_000;

export function judgeBuild(
  seen: BuildObservation,
  config: Pick<AgentConfig, 'builder'>,
  since: SymptomTimes,
  nowMs: number,
): { readonly verdict: BuildVerdict; readonly since: SymptomTimes } {
  const outcome = outcomeOf(seen, config);
  if (outcome !== undefined) return { verdict: outcome, since };
  const { since: times, ...judged } = judge(symptomsOf(seen, config), since, nowMs);
  if (judged.kind === 'waiting') return { verdict: { ...judged, message: progressOf(seen) }, since: times };
  const { code, phase, message } = judged.symptom;
  return { verdict: { kind: 'failed', code, phase, message }, since: times };
}

/** The outcome that is certain at once. */
function outcomeOf({ job, pod }: BuildObservation, { builder }: Pick<AgentConfig, 'builder'>): Outcome | undefined {
  const ended = pod?.build.ended;
  if (ended?.exitCode === 0) return { kind: 'succeeded', termination: ended.message };
  if (job === undefined) return unavailable('the Job of the build was deleted from outside');
  if (job.state === 'complete' && pod === undefined) return { kind: 'succeeded', termination: undefined };
  if (job.reason === 'DeadlineExceeded') {
    return failed(
      'build_timeout',
      `the build did not end within ${String(builder.timeout_secs)} s ([builder] timeout_secs)`,
    );
  }
  if (job.deleting) return unavailable('the Job of the build is being deleted from outside');
  if (ended?.reason === 'OOMKilled') {
    return failed(
      'build_out_of_memory',
      `the build used more memory than its limit of ${builder.memory} ([builder] memory)`,
    );
  }
  // Containers that ended because their pod is being removed say nothing about the build.
  if (pod === undefined || pod.deleting || pod.disruption !== undefined) return undefined;
  if (ended !== undefined) return { kind: 'ended', exitCode: ended.exitCode };
  const fetched = pod.fetch.ended;
  if (fetched !== undefined && fetched.exitCode !== 0) return fetchFailure(fetched, builder.agent_url);
  if (pod.failed !== undefined) return podFailure(pod.failed);
  return undefined;
}

function symptomsOf(seen: BuildObservation, { builder }: Pick<AgentConfig, 'builder'>): Symptom[] {
  const { job, pod, hadPod, podRefused } = seen;
  const found: Symptom[] = [];
  const lost = (why: string): Symptom => ({
    key: 'lost',
    ...unavailableFailure(`the pod of the build was removed: ${why}`),
    graceMs: conditionGraceMs,
  });
  if (pod === undefined) {
    if (hadPod || job?.state === 'failed') found.push(lost(job?.message || 'it is gone'));
    else if (podRefused !== undefined) found.push(refused(podRefused));
    else found.push({ key: 'no-pod', ...unavailableFailure('the Job got no pod'), graceMs: noPodGraceMs });
    return found;
  }
  if (pod.deleting || pod.disruption !== undefined) {
    return [lost(pod.disruption || pod.failed?.message || 'it was deleted from outside')];
  }
  const images = [
    [pod.fetch, `the image of Holdfast, [builder] fetch_image = ${builder.fetch_image ?? ''}`],
    [pod.build, `[builder] kaniko_image = ${builder.kaniko_image}`],
  ] as const;
  for (const [container, image] of images) {
    const stuck = stuckContainer(container, image);
    if (stuck !== undefined) found.push(stuck);
  }
  if (pod.unschedulable !== undefined && !pod.scheduled) {
    const message = `no node has room for the build: ${pod.unschedulable}`;
    const graceMs = builder.unschedulable_grace_secs * 1_000;
    found.push({ key: 'unschedulable', code: 'unschedulable', phase: 'schedule', message, graceMs });
  }
  const begun = (container: ContainerFacts): boolean => container.running || container.ended !== undefined;
  if (pod.scheduled && !begun(pod.fetch) && !begun(pod.build)) {
    const message = `no container of the build has started within ${String(nothingRunsMs / 60_000)} minutes`;
    found.push({ key: 'nothing-runs', ...unavailableFailure(message), graceMs: nothingRunsMs });
  }
  return found;
}

function stuckContainer({ waiting }: ContainerFacts, image: string): Symptom | undefined {
  if (waiting === undefined) return undefined;
  switch (waiting.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'ImageInspectError':
    case 'RegistryUnavailable':
    case 'SignatureValidationFailed':
    case 'ErrImageNeverPull':
    case 'InvalidImageName': {
      const { message } = waiting;
      const lasting =
        waiting.reason === 'InvalidImageName' ||
        waiting.reason === 'ErrImageNeverPull' ||
        (/not found|manifest unknown|name unknown|\b40[134]\b|unauthorized|denied|no match for platform/i.test(
          message,
        ) &&
          !/no such host/i.test(message));
      const words = `the nodes cannot pull ${image}: ${message || waiting.reason}`;
      return { key: 'pull', ...unavailableFailure(words), graceMs: lasting ? 0 : pullGraceMs };
    }
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
    case 'PreCreateHookError': {
      const words = `the build pod cannot start: ${waiting.reason}: ${waiting.message}`;
      return { key: 'container', ...unavailableFailure(words), graceMs: passingGraceMs };
    }
    default:
      return undefined;
  }
}

/** The symptom that the API server refuses to create the pod. */
function refused(message: string): Symptom {
  const base = { key: 'refused', phase: 'schedule', graceMs: 0 } as const;
  if (/exceeded quota|failed quota|(maximum|minimum) .*(usage|limit)|must specify (limits|requests)/i.test(message)) {
    return { ...base, code: 'quota_exceeded', message: `the namespace has no room for the build: ${message}` };
  }
  return { ...base, code: 'builder_unavailable', message: `the cluster refuses the pod of the build: ${message}` };
}

/** The outcome of a failed init container, by the exit codes of fetch-context.ts. */
function fetchFailure(ended: { readonly exitCode: number; readonly message: string }, agentUrl?: string): Outcome {
  const message = ended.message.trim();
  if (ended.exitCode === 2) return failed('source_invalid', message || 'the build context was refused');
  const where = `[builder] agent_url = ${agentUrl ?? ''}`;
  return unavailable(
    `the build pod could not fetch its context (${where}): ${message || `exit code ${String(ended.exitCode)}`}`,
  );
}

function podFailure({ reason, message }: { readonly reason: string; readonly message: string }): Outcome {
  const words = message || reason || 'no reason is given';
  // It would fail again: the build itself needs more disk than its limit.
  if (/exceeds the (total )?limit|exceeded its local ephemeral storage limit/i.test(message)) {
    return failed('build_failed', `the build used more disk than its limit: ${words}`);
  }
  return unavailable(`the pod of the build was ended by its node: ${words}`);
}

function failed(code: ErrorCode, message: string): Outcome {
  return { kind: 'failed', code, phase: 'build', message };
}

function unavailable(message: string): Outcome {
  return { kind: 'failed', ...unavailableFailure(message) };
}

function unavailableFailure(message: string): Failure {
  return { code: 'builder_unavailable', phase: 'build', message };
}

function progressOf({ pod }: BuildObservation): string {
  if (pod === undefined) return 'waiting for a build pod';
  if (pod.build.running) return 'building the image';
  if (pod.fetch.running || pod.fetch.ended !== undefined) return 'fetching the build context';
  if (pod.scheduled) return 'starting the build pod';
  return pod.unschedulable === undefined
    ? 'the build pod is waiting for a node'
    : `the build pod is waiting for a node: ${pod.unschedulable}`;
}
