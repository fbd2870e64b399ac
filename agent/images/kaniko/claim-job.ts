/** Finds the Job for a build request and joins it, or creates one with its Secret and makes the build context available to it. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { watchUntil } from '../../../shared/wait/watch-until.ts';
import type { RegistryCredentials } from '../../registry/credentials.ts';
import type { BuildRequest } from '../builder.ts';
import { createContextToken, type Contexts } from '../context-endpoint.ts';
import type { BuildPodFacts, JobFacts } from './build-facts.ts';
import type { BuildJobs } from './build-jobs.ts';
import { jobName, labelsOfBuild } from './build-names.ts';
import type { BuildPicture } from './build-picture.ts';
import { jobManifest, secretManifest, type BuildConfig, type RegistryFiles } from './job.ts';

export interface ClaimedJob {
  readonly job: JobFacts;
  /** Ends the access to the build context. */
  close(): Promise<void>;
}

export interface ClaimDeps {
  readonly jobs: BuildJobs;
  readonly contexts: Pick<Contexts, 'open'>;
  readonly credentials: Pick<RegistryCredentials, 'dockerConfig'>;
  readonly config: BuildConfig;
  readonly files: RegistryFiles;
  readonly log: Log;
  readonly clock: Clock;
}

/** How long to wait until the watch shows a change that was requested. */
const changeMs = 60_000;
const cleanUpMs = 10_000;

/** @throws AppError builder_unavailable, quota_exceeded; what the credentials throw; the signal's reason. */
export async function claimJob(
  deps: ClaimDeps,
  request: BuildRequest,
  picture: BuildPicture,
  signal: AbortSignal,
): Promise<ClaimedJob> {
  const { jobs, log } = deps;
  const name = jobName(request.tag);
  for (;;) {
    const job = picture.job();
    if (job === undefined) {
      const made = await createJob(deps, request, signal);
      try {
        // Until the watch shows the new Job, it would seem to be deleted.
        await changed(deps, picture, undefined, signal);
      } catch (error) {
        await made?.close();
        throw error;
      }
      if (made !== undefined) return made;
      continue;
    }
    const pod = picture.pod(job.uid);
    if (await isToJoin(deps, { job, pod }, request, signal)) {
      log.info({ job: name, app: request.app }, 'joined a build that is under way');
      return { job, close: openContext(deps, job.tokenHash, request, pod) };
    }
    if (!job.deleting) await jobs.delete(name, signal, job.uid);
    await changed(deps, picture, job.uid, signal);
  }
}

/** Whether the Job is to be joined. One that failed is an earlier attempt; one that succeeded has the digest. */
async function isToJoin(
  { jobs }: ClaimDeps,
  { job, pod }: { readonly job: JobFacts; readonly pod: BuildPodFacts | undefined },
  request: BuildRequest,
  signal: AbortSignal,
): Promise<boolean> {
  if (job.deleting || job.state === 'failed' || job.image !== request.image) return false;
  if (job.state === 'complete' || pod?.build.ended?.exitCode === 0) return true;
  const ended = pod?.build.ended ?? pod?.fetch.ended;
  if ((ended !== undefined && ended.exitCode !== 0) || pod?.failed !== undefined || pod?.deleting === true)
    return false;
  if (pod?.fetch.running === true || pod?.fetch.ended !== undefined) return true;
  // An agent that ended after creating the Job may have left it without its Secret, so that its pod never starts.
  return job.secretName !== undefined && (await jobs.hasSecret(job.secretName, signal));
}

/** @returns undefined if there is another Job of the name. */
async function createJob(deps: ClaimDeps, request: BuildRequest, signal: AbortSignal): Promise<ClaimedJob | undefined> {
  const { jobs, credentials, config, files, log } = deps;
  const dockerConfig = await credentials.dockerConfig(undefined, signal);
  const { token, tokenHash } = createContextToken();
  const name = jobName(request.tag);
  // Each attempt has its own Secret, so that none waits for the garbage collector.
  const secretName = `${name}-${randomBytes(3).toString('hex')}`;
  const close = openContext(deps, tokenHash, request, undefined);
  try {
    const job = await jobs.create(jobManifest({ request, config, files, secretName, tokenHash }), signal);
    if (job === undefined) {
      await close();
      return undefined;
    }
    const { namespace, lease_name: agents } = config.kubernetes;
    const secret = secretManifest({
      name: secretName,
      job: { name, uid: job.uid, namespace },
      labels: labelsOfBuild({ tag: request.tag, app: request.app, agents }),
      token,
      dockerConfig,
      files,
      secretArgs: request.secretArgs,
    });
    try {
      // Not aborted by the signal: an agent that loses the lead now leaves a complete build to the next one.
      await jobs.createSecret(secret, AbortSignal.timeout(cleanUpMs));
    } catch (error) {
      await removeQuietly(deps, job);
      throw error;
    }
    log.info({ job: name, app: request.app, image: request.image }, 'build Job created');
    return { job, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Deletes a Job that is over or useless. A failure is only logged: the next build of the tag, or the Job's time to live, deletes it. */
export async function removeQuietly(
  { jobs, log }: Pick<ClaimDeps, 'jobs' | 'log'>,
  job: Pick<JobFacts, 'name' | 'uid'>,
): Promise<void> {
  try {
    await jobs.delete(job.name, AbortSignal.timeout(cleanUpMs), job.uid);
  } catch (error) {
    log.warn({ err: error, job: job.name }, 'could not delete the Job of a build');
  }
}

function openContext(
  { contexts }: Pick<ClaimDeps, 'contexts'>,
  tokenHash: string | undefined,
  request: BuildRequest,
  pod: BuildPodFacts | undefined,
): () => Promise<void> {
  if (tokenHash === undefined || pod?.fetch.ended !== undefined) return () => Promise.resolve();
  const open = contexts.open(tokenHash, { folder: request.tree.folder, extraFiles: request.extraFiles });
  return () => open.close();
}

/** Resolves when the watch shows another Job of the name than before, or none. */
async function changed(
  { clock }: Pick<ClaimDeps, 'clock'>,
  picture: BuildPicture,
  beforeUid: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const what =
    beforeUid === undefined ? 'the Job of the build did not appear' : 'the earlier Job of the build is still there';
  await watchUntil({
    look: () => (picture.job()?.uid === beforeUid ? { againMs: changeMs } : { done: undefined }),
    subscribe: (listener) => picture.onChange(listener),
    clock,
    signal,
    timeoutMs: changeMs,
    timedOut: () =>
      new AppError('builder_unavailable', `${what} after ${String(changeMs / 1_000)} s`, { phase: 'build' }),
  });
}
