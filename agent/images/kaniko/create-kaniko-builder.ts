/**
 * Builds images with Kaniko Jobs in the agent's namespace. Their state is in the cluster only: an agent that starts, or takes the
 * lead, finds a build again by the name of its Job.
 */
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { KubeApi } from '../../kube/api.ts';
import { untilAborted } from '../../../shared/wait/abort.ts';
import { secretsOf, type RegistryCredentials } from '../../registry/credentials.ts';
import type { HttpEndpoint } from '../../rpc/endpoint.ts';
import type { Builder, BuildOptions, BuildRequest } from '../builder.ts';
import { packContext } from '../build-context.ts';
import { createContexts } from '../context-endpoint.ts';
import { RunningBuilds } from '../running-builds.ts';
import type { JobFacts } from './build-facts.ts';
import { createBuildJobs } from './build-jobs.ts';
import { createBuildOutput, type BuildOutput } from './build-output.ts';
import { buildSelector, jobName } from './build-names.ts';
import { startBuildPicture, type BuildPicture } from './build-picture.ts';
import { claimJob, removeQuietly } from './claim-job.ts';
import { classifyLog } from './classify-log.ts';
import { reservedArgs, type BuildConfig, type RegistryFiles } from './job.ts';
import { createMask } from '../../../shared/mask.ts';
import { watchBuild, type DecidedBuild } from './watch-build.ts';

export interface KanikoBuilder extends Builder {
  /** Serves build contexts to build pods. The agent's server has to mount it. */
  readonly endpoint: HttpEndpoint;
}

export interface KanikoBuilderDeps {
  readonly api: Pick<KubeApi, 'create' | 'list' | 'delete' | 'watch' | 'log'>;
  readonly config: BuildConfig;
  /** PEM texts for the registry that images are pushed to. */
  readonly own: RegistryFiles | undefined;
  readonly credentials: Pick<RegistryCredentials, 'dockerConfig'>;
  readonly log: Log;
  readonly clock: Clock;
}

/** How long to wait until the API server has listed Jobs and pods. */
const syncMs = 30_000;
const cleanUpMs = 10_000;
const logLines = 50;
const classifiedLines = 400;

export function createKanikoBuilder(deps: KanikoBuilderDeps): KanikoBuilder {
  const { api, config, credentials, log, clock } = deps;
  const { namespace, lease_name: agents } = config.kubernetes;
  const files: RegistryFiles = deps.own ?? {};
  const jobs = createBuildJobs({ api, namespace, clock });
  const contexts = createContexts({ pack: (context, signal) => packContext(context, config.source, signal), log });
  const running = new RunningBuilds();

  async function buildOnce(request: BuildRequest, options: BuildOptions, signal: AbortSignal): Promise<string> {
    const reserved = Object.keys(request.secretArgs).find((name) => reservedArgs.has(name));
    if (reserved !== undefined) {
      throw failure(
        'build_failed',
        `a secret build argument cannot be named ${reserved}: the executor itself reads that variable`,
      );
    }
    const picture = startBuildPicture({
      api,
      namespace,
      jobName: jobName(request.tag),
      labelSelector: buildSelector(agents, request.tag),
      log,
      clock,
    });
    const mask = createMask([...Object.values(request.secretArgs), ...(await logins(signal))]);
    const output = createBuildOutput({ api, namespace, mask, onLine: (line) => onLine(line, options), log, clock });
    let close = (): Promise<void> => Promise.resolve();
    try {
      await synced(picture, signal);
      const claimed = await claimJob(
        { jobs, contexts, credentials, config, files, log, clock },
        request,
        picture,
        signal,
      );
      close = () => claimed.close();
      const { job } = claimed;
      const { onPhase } = options;
      const verdict = await watchBuild({ job, picture, output, jobs, config, onPhase, clock, signal });
      await output.finish();
      return await settle(verdict, job, output);
    } finally {
      await close();
      await output.close();
      await picture.close();
    }
  }

  /** The credentials to mask: steps can read those that the executor pushes with. An existing Job needs none of ours. */
  async function logins(signal: AbortSignal): Promise<string[]> {
    try {
      return secretsOf(await credentials.dockerConfig(undefined, signal));
    } catch (error) {
      signal.throwIfAborted();
      log.debug({ err: toAppError(error) }, 'no credentials to mask');
      return [];
    }
  }

  async function settle(verdict: DecidedBuild, job: JobFacts, output: BuildOutput): Promise<string> {
    const logs = output.lastLines(logLines);
    switch (verdict.kind) {
      case 'succeeded': {
        const digest = digestIn(verdict.termination);
        // The Job is kept until the digest is known.
        await removeQuietly({ jobs, log }, job);
        if (digest !== undefined) return digest;
        throw failure(
          'builder_unavailable',
          'the build succeeded, but reported no digest, so it is not known which image it made',
          { logs },
        );
      }
      case 'ended': {
        const { code, message, ...about } = classifyLog(output.lastLines(classifiedLines), verdict.exitCode);
        throw failure(code, message, { logs, ...about });
      }
      case 'failed': {
        // The Job may still run or wait. One that has ended is kept for its time to live, so that it can be examined.
        await removeQuietly({ jobs, log }, job);
        throw new AppError(verdict.code, verdict.message, { phase: verdict.phase, data: { logs } });
      }
    }
  }

  async function synced(picture: BuildPicture, signal: AbortSignal): Promise<void> {
    const deadline = AbortSignal.timeout(syncMs);
    try {
      await untilAborted(picture.synced(signal), AbortSignal.any([signal, deadline]));
    } catch (error) {
      if (signal.aborted) throw error;
      throw new AppError(
        'builder_unavailable',
        'the API server cannot be reached, or does not let the agent list Jobs',
        {
          cause: error,
          phase: 'build',
        },
      );
    }
  }

  return {
    kind: 'kaniko',
    endpoint: contexts.endpoint,

    build: (request, options) =>
      running.run(request.tag, options.signal, (signal) => buildOnce(request, options, signal)),

    async cancel(tag) {
      running.cancel(tag);
      await jobs.delete(jobName(tag), AbortSignal.any([running.stopped, AbortSignal.timeout(cleanUpMs)]));
    },

    async underWay(signal) {
      const found = await jobs.list(buildSelector(agents), signal);
      return found.flatMap((job) =>
        job.state === 'running' && !job.deleting && job.tag !== undefined ? [job.tag] : [],
      );
    },

    close: () => running.close(),
  };
}

function onLine(line: string, { onLine, onPhase }: BuildOptions): void {
  onLine(line);
  const step = /^INFO\[\d+\] ((?:RUN|COPY|ADD) .*|Pushing image to .*|Unpacking rootfs .*|Retrieving image .*)/.exec(
    line,
  )?.[1];
  if (step !== undefined) onPhase(step.trim().slice(0, 200));
}

function digestIn(termination: string | undefined): string | undefined {
  return /^sha256:[0-9a-f]{64}$/.exec(termination?.trim() ?? '')?.[0];
}

function failure(code: AppError['code'], message: string, data?: Readonly<Record<string, unknown>>): AppError {
  return new AppError(code, message, { phase: 'build', data });
}
