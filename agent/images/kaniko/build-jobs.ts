/** What is done to Jobs of builds and their Secrets: create, delete, list; with refusals as the errors that people see. */
import type { V1Job, V1Secret } from '@kubernetes/client-node';
import { AppError } from '../../../shared/errors.ts';
import { cancellation } from '../../../shared/wait/abort.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { retry } from '../../../shared/wait/retry.ts';
import type { KubeApi } from '../../kube/api.ts';
import { isPassing, isStatus } from '../../kube/errors.ts';
import { typeOf } from '../../kube/kinds.ts';
import { jobFacts, type JobFacts } from './build-facts.ts';

export interface BuildJobs {
  /** @returns undefined where there is a Job of that name already. */
  create(manifest: V1Job, signal: AbortSignal): Promise<JobFacts | undefined>;
  createSecret(manifest: V1Secret, signal: AbortSignal): Promise<void>;
  /** Whether there is a Secret of that name, without a right to read Secrets: a trial of making one says so. */
  hasSecret(name: string, signal: AbortSignal): Promise<boolean>;
  /** With its pods and its Secret, which the garbage collector takes. Gone already is no error. */
  delete(name: string, signal: AbortSignal, uid?: string): Promise<void>;
  list(labelSelector: string, signal: AbortSignal): Promise<JobFacts[]>;
  /** What the Job controller says of pods that it could not make; undefined where it says nothing. */
  podRefusal(jobUid: string, signal: AbortSignal): Promise<string | undefined>;
}

const maxAttempts = 4;
const retryPauses = { minMs: 300, maxMs: 1_200 };

export function createBuildJobs(deps: {
  readonly api: Pick<KubeApi, 'create' | 'list' | 'delete'>;
  readonly namespace: string;
  readonly clock: Clock;
}): BuildJobs {
  const { api, namespace, clock } = deps;

  /** For what may be repeated: everything here has a name or changes nothing. */
  async function ask<T>(signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    return await retry(request, { clock, signal, backoff: retryPauses, attempts: maxAttempts, isPassing });
  }

  return {
    async create(manifest, signal) {
      try {
        return jobFacts(await ask(signal, () => api.create(manifest, { signal })));
      } catch (error) {
        if (isStatus(error, 409)) return undefined;
        throw refusal(error, 'the Job of the build could not be made', signal);
      }
    },
    async createSecret(manifest, signal) {
      try {
        await ask(signal, () => api.create(manifest, { signal }));
      } catch (error) {
        // The name is drawn for this build alone: an earlier attempt was carried out, and its answer lost.
        if (isStatus(error, 409)) return;
        throw refusal(error, 'the Secret of the build could not be made', signal);
      }
    },
    async hasSecret(name, signal) {
      const secret = { ...typeOf('Secret'), metadata: { name, namespace } };
      try {
        await ask(signal, () => api.create(secret, { signal, dryRun: true }));
        return false;
      } catch (error) {
        if (isStatus(error, 409)) return true;
        throw refusal(error, 'the Secret of the build could not be looked for', signal);
      }
    },
    async delete(name, signal, uid) {
      try {
        await ask(signal, () => api.delete('Job', { namespace, name }, { uid }, { signal }));
      } catch (error) {
        throw refusal(error, 'the Job of the build could not be deleted', signal);
      }
    },
    async list(labelSelector, signal) {
      try {
        const found = await ask(signal, () => api.list('Job', namespace, { labelSelector, limit: 1_000 }, { signal }));
        return found.items.map(jobFacts);
      } catch (error) {
        throw refusal(error, 'the Jobs of builds could not be listed', signal);
      }
    },
    async podRefusal(jobUid, signal) {
      const query = { fieldSelector: `involvedObject.uid=${jobUid},reason=FailedCreate`, limit: 20 };
      try {
        const { items } = await ask(signal, () => api.list('Event', namespace, query, { signal }));
        return items.at(-1)?.message;
      } catch {
        // It only makes a better message: the Job is judged without it.
        return undefined;
      }
    },
  };
}

function refusal(error: unknown, what: string, signal: AbortSignal): AppError {
  if (signal.aborted) return error instanceof AppError ? error : cancellation(signal);
  const message = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  const quota = isStatus(error, 403) && /quota/i.test(message);
  return new AppError(quota ? 'quota_exceeded' : 'builder_unavailable', message, {
    cause: error,
    phase: quota ? 'schedule' : 'build',
  });
}
