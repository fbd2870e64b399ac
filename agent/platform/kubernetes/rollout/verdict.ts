/**
 * Judges a rollout: what is wrong with pods that do not answer, and when the start has failed. Success is not judged here,
 * because a pod that answers ends the start at once (targets.ts).
 *
 * All functions are pure. An observation becomes symptoms, each with a time that it may last; the first one that lasts
 * longer is the verdict.
 */
import type { AppConfig } from '../../../../shared/protocol/app-config.ts';
import type { EnsureProgress } from '../../../../shared/protocol/methods.ts';
import type { ProbeOutcome } from '../../../../shared/net/http-probe.ts';
import { wordsOfListener } from '../../listening.ts';
import { wordsOfOutcome } from '../../readiness.ts';
import type { ExitFacts, PodFacts } from '../picture/facts.ts';
import type { Finding } from './inquiry.ts';
import { judge, passingGraceMs, pullGraceMs, type Symptom, type SymptomTimes } from '../../../kube/symptoms.ts';

export interface Observation {
  /** The pods of the version, without those that are leaving. */
  readonly pods: readonly PodFacts[];
  /** Why the Deployment cannot create pods; undefined if it can. */
  readonly replicaFailure: string | undefined;
  /** How often containers had ended before this start, by pod UID: those exits do not count. */
  readonly priorExits: ReadonlyMap<string, number>;
  /** What the last probe of a pod saw. */
  readonly outcomeOf: (pod: PodFacts) => ProbeOutcome | undefined;
  /** What was asked about a pod. */
  readonly findingOf: (pod: PodFacts) => Finding | undefined;
}

export interface PodSymptom extends Symptom {
  /** The pod whose logs explain it. */
  readonly pod?: PodFacts;
}

export type Verdict =
  | { readonly kind: 'failed'; readonly symptom: PodSymptom }
  | {
      readonly kind: 'waiting';
      readonly phase: EnsureProgress['phase'];
      readonly message: string;
      readonly againMs: number;
    };

/** Exits before the first answer that make a failure: the first may be bad luck, such as a database that is not up yet. */
const maxExits = 2;
/** The condition of an earlier start remains for a moment after the Deployment is scaled up again. */
const staleConditionMs = 1_500;
/** Bound of everything before a container runs: pulling a large image may take long. */
const preparationMs = 10 * 60_000;
/** An app that has said where it listens and then does nothing for so long has started: another port will not open. */
const stillMs = 5_000;

/** @returns the verdict now, and the times to pass to the next look. */
export function judgeRollout(
  observation: Observation,
  config: Pick<AppConfig, 'container' | 'kubernetes'>,
  before: SymptomTimes,
  nowMs: number,
): { readonly verdict: Verdict; readonly since: SymptomTimes } {
  const symptoms = symptomsOf(observation, config);
  const { since, ...judged } = judge(symptoms, before, nowMs);
  return { verdict: judged.kind === 'failed' ? judged : { ...judged, ...progressOf(observation, symptoms) }, since };
}

/** Everything that is wrong, the most specific first. */
export function symptomsOf(
  { pods, replicaFailure, priorExits, outcomeOf, findingOf }: Observation,
  config: Pick<AppConfig, 'container' | 'kubernetes'>,
): PodSymptom[] {
  const found: PodSymptom[] = [];
  if (replicaFailure !== undefined && pods.length === 0) found.push(forbidden(replicaFailure));
  const exitsOf = (pod: PodFacts): number => Math.max(0, pod.exits - (priorExits.get(pod.uid) ?? 0));
  for (const pod of pods) {
    const exits = exitsOf(pod);
    const cannotRun = exits > 0 && pod.lastExit !== undefined ? cannotRunAtAll(pod, pod.lastExit) : undefined;
    if (cannotRun !== undefined) found.push(cannotRun);
    if (pod.waiting !== undefined) {
      const stuck = stuckContainer(pod, pod.waiting);
      if (stuck !== undefined) found.push(stuck);
    }
  }
  const crashed = pods.filter((pod) => exitsOf(pod) > 0);
  const last = crashed.at(-1);
  if (last?.lastExit !== undefined && crashed.reduce((sum, pod) => sum + exitsOf(pod), 0) >= maxExits) {
    found.push({
      key: 'crashed',
      code: 'app_crashed',
      phase: 'start',
      message: `the app ${wordsOfExit(last.lastExit)} before it answered, ${String(maxExits)} times`,
      graceMs: 0,
      pod: last,
    });
  }
  const unplaced = pods.find((pod) => pod.unschedulable !== undefined);
  const scaleUp = pods.map((pod) => findingOf(pod)?.scaleUp).find((said) => said !== undefined);
  if (unplaced?.unschedulable !== undefined && !pods.some((pod) => pod.scheduled)) {
    found.push(unschedulable(unplaced, unplaced.unschedulable, scaleUp, config));
  }
  for (const pod of pods) found.push(...listensElsewhere(pod, outcomeOf(pod), findingOf(pod)));
  const started = pods.find((pod) => pod.running || exitsOf(pod) > 0);
  found.push(
    started === undefined
      ? {
          key: 'nothing-runs',
          code: 'platform_error',
          phase: 'start',
          message: `no container of the app has started within ${String(preparationMs / 1_000)} s`,
          // The time in which a node is made is not the app's.
          graceMs: preparationMs + (scaleUp === undefined ? 0 : config.kubernetes.scale_up_timeout_secs * 1_000),
          ...(pods[0] === undefined ? {} : { pod: pods[0] }),
        }
      : {
          key: 'not-ready',
          code: 'app_not_ready',
          phase: 'start',
          message: notReadyMessage(
            started,
            { outcome: outcomeOf(started), finding: findingOf(started) },
            config.container.start_deadline_secs,
          ),
          graceMs: config.container.start_deadline_secs * 1_000,
          pod: started,
        },
  );
  return found;
}

function unschedulable(
  pod: PodFacts,
  reason: string,
  scaleUp: string | undefined,
  { kubernetes }: Pick<AppConfig, 'kubernetes'>,
): PodSymptom {
  const { unschedulable_grace_secs: graceSecs, scale_up_timeout_secs: scaleUpSecs } = kubernetes;
  return {
    key: 'unschedulable',
    code: 'unschedulable',
    phase: 'schedule',
    message: scaleUp === undefined ? reason : `${reason}; a node is announced (${scaleUp})`,
    graceMs: (scaleUp === undefined ? graceSecs : Math.max(graceSecs, scaleUpSecs)) * 1_000,
    pod,
  };
}

/** An app that says that it listens elsewhere, and nothing more since, while its own port is closed. */
function listensElsewhere(
  pod: PodFacts,
  outcome: ProbeOutcome | undefined,
  finding: Finding | undefined,
): PodSymptom[] {
  const { elsewhere } = finding ?? {};
  if (elsewhere?.isCertain !== true || outcome?.kind !== 'refused' || !pod.running) return [];
  return [
    {
      key: `elsewhere ${pod.uid} ${elsewhere.signature}`,
      code: 'app_not_ready',
      phase: 'start',
      message: wordsOfListener(elsewhere.listener, pod.port),
      graceMs: stillMs,
      pod,
    },
  ];
}

function notReadyMessage(
  pod: PodFacts,
  { outcome, finding }: { readonly outcome: ProbeOutcome | undefined; readonly finding: Finding | undefined },
  deadlineSecs: number,
): string {
  const { port, probe } = pod;
  const what = probe.wants === 'success' ? ` with 2xx or 3xx at ${probe.path ?? '/'}` : '';
  const elsewhere = outcome?.kind === 'refused' ? finding?.elsewhere?.listener : undefined;
  const seen = outcome && wordsOfOutcome(outcome, `port ${String(port)}`, probe);
  const words = elsewhere === undefined ? seen : wordsOfListener(elsewhere, port);
  const why = words === undefined ? '' : `: ${words}`;
  return `the app runs but has not answered on port ${String(port)}${what} within ${String(deadlineSecs)} s${why}`;
}

/** An exit that no restart will change: there is no such command, or the machine cannot run it. */
function cannotRunAtAll(pod: PodFacts, exit: ExitFacts): PodSymptom | undefined {
  if (!['StartError', 'ContainerCannotRun', 'RunContainerError'].includes(exit.reason)) return undefined;
  return {
    key: 'cannot-run',
    code: /exec format error/i.test(exit.message) ? 'image_invalid' : 'app_config_invalid',
    phase: 'start',
    message: exit.message,
    graceMs: 0,
    pod,
  };
}

/** Judges a waiting container by the reasons that kubelet and container runtimes give. */
function stuckContainer(
  pod: PodFacts,
  { reason, message }: { reason: string; message: string },
): PodSymptom | undefined {
  switch (reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'ImageInspectError':
    case 'RegistryUnavailable':
    case 'SignatureValidationFailed':
    case 'ErrImageNeverPull':
      return { ...pullFailure(message), phase: 'pull', pod };
    case 'InvalidImageName':
      return { key: 'image-name', code: 'image_invalid', phase: 'pull', message, graceMs: 0, pod };
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
    case 'PreCreateHookError':
    case 'PostStartHookError':
      return {
        key: 'container-config',
        code: 'app_config_invalid',
        phase: 'start',
        message: `${reason}: ${message}`,
        // A Secret that the node has not seen yet, or a slow runtime: not the fault of the app, and soon over.
        graceMs: /not found|failed to sync|deadline exceeded|is reserved for/i.test(message) ? passingGraceMs : 0,
        pod,
      };
    case 'CrashLoopBackOff':
    case 'ContainerCreating':
    case 'PodInitializing':
    default:
      return undefined;
  }
}

/** Judges by what registries and runtimes say, the most definite first. @see https://distribution.github.io/distribution/spec/api/#errors */
function pullFailure(message: string): Pick<PodSymptom, 'key' | 'code' | 'message' | 'graceMs'> {
  const base = { key: 'pull', message: message === '' ? 'the image cannot be pulled' : message };
  if (/no match for platform|exec format|unsupported media type|schema 1/i.test(message)) {
    return { ...base, code: 'image_invalid', graceMs: 0 };
  }
  if (
    /\b40[13]\b|unauthorized|forbidden|denied|insufficient_scope|authentication required|no basic auth/i.test(message)
  ) {
    return { ...base, code: 'image_denied', graceMs: 0 };
  }
  if (
    /not found|manifest unknown|name unknown|does not exist|\b404\b/i.test(message) &&
    !/no such host/i.test(message)
  ) {
    return { ...base, code: 'image_not_found', graceMs: 0 };
  }
  return { ...base, code: 'image_pull_failed', graceMs: pullGraceMs };
}

/** The admission of the API server refuses the pods. */
function forbidden(message: string): PodSymptom {
  const quota = /exceeded quota|failed quota|(maximum|minimum) .*(usage|limit)|must specify (limits|requests)/i.test(
    message,
  );
  const passing = /serviceaccount .*not found|timeout|deadline|connection refused/i.test(message);
  return {
    key: 'forbidden',
    code: quota ? 'quota_exceeded' : 'app_config_invalid',
    phase: 'schedule',
    message,
    graceMs: passing ? passingGraceMs : staleConditionMs,
  };
}

function wordsOfExit(exit: ExitFacts): string {
  if (exit.reason === 'OOMKilled') return 'was killed because it used more memory than its limit';
  if (exit.signal !== undefined && exit.signal > 0) return `was ended by signal ${String(exit.signal)}`;
  return `ended with exit code ${String(exit.exitCode)}`;
}

function progressOf(
  { pods, replicaFailure }: Observation,
  symptoms: readonly PodSymptom[],
): { phase: EnsureProgress['phase']; message: string } {
  const trouble = symptoms.find(({ key }) => key !== 'not-ready' && key !== 'nothing-runs');
  const detail = trouble === undefined ? '' : `: ${trouble.message}`;
  if (pods.some((pod) => pod.running)) return { phase: 'start', message: 'the container runs, no answer yet' };
  if (pods.some((pod) => pod.exits > 0)) return { phase: 'start', message: `the container is started again${detail}` };
  if (pods.some((pod) => pod.scheduled)) return { phase: 'pull', message: `the container is being made${detail}` };
  if (replicaFailure !== undefined || pods.length > 0)
    return { phase: 'schedule', message: `waits for a node${detail}` };
  return { phase: 'schedule', message: 'waits for a pod' };
}
