/**
 * Takes charge of the Job of a request: joins the one that is under way, else makes a new one, with its Secret and the way to
 * its context.
 */
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
  /** Ends the way to its context. */
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

/** Until the watch shows what was done, or what another does ends. */
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
        // Judged only once the watch has it too: before, it would seem to be deleted.
        await changed(deps, picture, undefined, signal);
      } catch (error) {
        await made?.close();
        throw error;
      }
      if (made !== undefined) return made;
      continue;
    }
    const pod = picture.pod(job.uid);
    if (await isToJoin(deps, job, pod, request, signal)) {
      log.info({ job: name, app: request.app }, 'joins a build that is under way');
      return { job, close: openContext(deps, job.tokenHash, request, pod) };
    }
    if (!job.deleting) await jobs.delete(name, signal, job.uid);
    await changed(deps, picture, job.uid, signal);
  }
}

/** What ended badly is an earlier try, whose verdict was given or lost; what ended well has the digest. */
async function isToJoin(
  { jobs }: ClaimDeps,
  job: JobFacts,
  pod: BuildPodFacts | undefined,
  request: BuildRequest,
  signal: AbortSignal,
): Promise<boolean> {
  if (job.deleting || job.state === 'failed' || job.image !== request.image) return false;
  if (job.state === 'complete' || pod?.build.ended?.exitCode === 0) return true;
  const ended = pod?.build.ended ?? pod?.fetch.ended;
  if ((ended !== undefined && ended.exitCode !== 0) || pod?.failed !== undefined || pod?.deleting === true)
    return false;
  if (pod?.fetch.running === true || pod?.fetch.ended !== undefined) return true;
  // An agent that ended between the two leaves a Job without its Secret, whose pod would wait for ever.
  return job.secretName !== undefined && (await jobs.hasSecret(job.secretName, signal));
}

/** @returns undefined where another Job has the name. */
async function createJob(deps: ClaimDeps, request: BuildRequest, signal: AbortSignal): Promise<ClaimedJob | undefined> {
  const { jobs, credentials, config, files, log } = deps;
  const dockerConfig = await credentials.dockerConfig(undefined, signal);
  const { token, tokenHash } = createContextToken();
  const name = jobName(request.tag);
  // A name of its own for each try, so that nothing waits for the garbage collector.
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
      // Not ended by the signal: an agent that loses the lead right now leaves a whole build to the next one.
      await jobs.createSecret(secret, AbortSignal.timeout(cleanUpMs));
    } catch (error) {
      await removeQuietly(deps, job);
      throw error;
    }
    log.info({ job: name, app: request.app, image: request.image }, 'build begun');
    return { job, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** For what is over, or of no use: the next build of its tag deletes it too, and so does its time to live. */
export async function removeQuietly(
  { jobs, log }: Pick<ClaimDeps, 'jobs' | 'log'>,
  job: Pick<JobFacts, 'name' | 'uid'>,
): Promise<void> {
  try {
    await jobs.delete(job.name, AbortSignal.timeout(cleanUpMs), job.uid);
  } catch (error) {
    log.warn({ err: error, job: job.name }, 'the Job of a build could not be deleted');
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

/** Resolves when there is another Job of the name than before, or none. */
async function changed(
  { clock }: Pick<ClaimDeps, 'clock'>,
  picture: BuildPicture,
  beforeUid: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const untilMs = clock.nowMs() + changeMs;
  const came = await watchUntil({
    look() {
      if (picture.job()?.uid !== beforeUid) return { done: true };
      const leftMs = untilMs - clock.nowMs();
      return leftMs <= 0 ? { done: false } : { againMs: leftMs };
    },
    subscribe: (listener) => picture.onChange(listener),
    clock,
    signal,
  });
  if (came) return;
  const what =
    beforeUid === undefined ? 'the Job of the build does not appear' : 'the earlier Job of the build does not go away';
  throw new AppError('builder_unavailable', `${what} within ${String(changeMs / 1_000)} s`, { phase: 'build' });
}
