/** What is done to Jobs of builds and their Secrets: create, delete, list; with refusals as the errors that people see. */
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import { isStatus, KubeApiError, type KubeApi, type KubeRequest } from '../../kube/api.ts';
import type { KubeEvent, KubeList, KubeObject } from '../../kube/kube-types.ts';
import { jobFacts, type Job, type JobFacts } from './build-facts.ts';

export interface BuildJobs {
  /** @returns undefined where there is a Job of that name already. */
  create(manifest: KubeObject, signal: AbortSignal): Promise<JobFacts | undefined>;
  createSecret(manifest: unknown, signal: AbortSignal): Promise<void>;
  /** Whether there is a Secret of that name, without a right to read Secrets: a trial of making one says so. */
  hasSecret(name: string, signal: AbortSignal): Promise<boolean>;
  /** With its pods and its Secret, which the garbage collector takes. Gone already is no error. */
  delete(name: string, signal: AbortSignal, uid?: string): Promise<void>;
  list(labelSelector: string, signal: AbortSignal): Promise<JobFacts[]>;
  /** What the Job controller says of pods that it could not make; undefined where it says nothing. */
  podRefusal(jobUid: string, signal: AbortSignal): Promise<string | undefined>;
}

const maxTries = 4;
const retryMs = 150;

export function createBuildJobs(deps: {
  readonly api: Pick<KubeApi, 'request'>;
  readonly namespace: string;
  readonly clock: Clock;
}): BuildJobs {
  const { api, namespace, clock } = deps;
  const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const core = `/api/v1/namespaces/${namespace}`;

  /** For what may be repeated: everything here has a name or changes nothing. */
  async function ask<T>(options: KubeRequest): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await api.request<T>(options);
      } catch (error) {
        const passing =
          error instanceof AppError ? error.code === 'platform_error' : isStatus(error, 429, 500, 502, 503, 504);
        if (!passing || attempt >= maxTries || options.signal.aborted) throw error;
        await sleep(clock, retryMs * 2 ** attempt, options.signal);
      }
    }
  }

  return {
    async create(manifest, signal) {
      try {
        return jobFacts(await ask<Job>({ method: 'POST', path: jobs, body: manifest, signal }));
      } catch (error) {
        if (isStatus(error, 409)) return undefined;
        throw refusal(error, 'the Job of the build could not be made', signal);
      }
    },
    async createSecret(manifest, signal) {
      try {
        await ask({ method: 'POST', path: `${core}/secrets`, body: manifest, signal });
      } catch (error) {
        // Its name is drawn for this try: an answer that was lost.
        if (isStatus(error, 409)) return;
        throw refusal(error, 'the Secret of the build could not be made', signal);
      }
    },
    async hasSecret(name, signal) {
      try {
        await ask({
          method: 'POST',
          path: `${core}/secrets`,
          query: { dryRun: 'All' },
          body: { metadata: { name } },
          signal,
        });
        return false;
      } catch (error) {
        if (isStatus(error, 409)) return true;
        throw refusal(error, 'the Secret of the build could not be looked for', signal);
      }
    },
    async delete(name, signal, uid) {
      try {
        await ask({
          method: 'DELETE',
          path: `${jobs}/${name}`,
          body: { propagationPolicy: 'Background', ...(uid === undefined ? {} : { preconditions: { uid } }) },
          signal,
        });
      } catch (error) {
        // 409 with a uid: another Job has the name now, so the one that was meant is gone.
        if (isStatus(error, 404) || (uid !== undefined && isStatus(error, 409))) return;
        throw refusal(error, 'the Job of the build could not be deleted', signal);
      }
    },
    async list(labelSelector, signal) {
      try {
        const found = await ask<KubeList<Job>>({
          method: 'GET',
          path: jobs,
          query: { labelSelector, limit: 1_000 },
          signal,
        });
        return found.items.map(jobFacts);
      } catch (error) {
        throw refusal(error, 'the Jobs of builds could not be listed', signal);
      }
    },
    async podRefusal(jobUid, signal) {
      try {
        const { items } = await ask<KubeList<KubeEvent>>({
          method: 'GET',
          path: `${core}/events`,
          query: { fieldSelector: `involvedObject.uid=${jobUid},reason=FailedCreate`, limit: 20 },
          signal,
        });
        return items.at(-1)?.message;
      } catch {
        // What is only told for a better message; the Job is judged without it.
        return undefined;
      }
    },
  };
}

function refusal(error: unknown, what: string, signal: AbortSignal): AppError {
  if (signal.aborted && error instanceof AppError) return error;
  const message = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  const quota = error instanceof KubeApiError && error.status === 403 && /quota/i.test(error.message);
  return new AppError(quota ? 'quota_exceeded' : 'builder_unavailable', message, {
    cause: error,
    phase: quota ? 'schedule' : 'build',
  });
}
