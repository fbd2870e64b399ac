/** Creates, deletes and lists the Jobs of builds and their Secrets, and turns refusals into errors for users. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import { cancellation } from '../../../shared/wait/abort.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { retry } from '../../../shared/wait/retry.ts';
import type { KubeApi } from '../../kube/api.ts';
import { isPassing, isStatus } from '../../kube/errors.ts';
import { typeOf, type Kinds } from '../../kube/kinds.ts';
import { jobFacts, type JobFacts } from './build-facts.ts';

const maxAttempts = 4;
const retryPauses = { minMs: 300, maxMs: 1_200 };

export function createBuildJobs(deps: {
  readonly api: Pick<KubeApi, 'create' | 'list' | 'delete'>;
  readonly namespace: string;
  readonly clock: Clock;
}) {
  const { api, namespace, clock } = deps;

  /** Tries again while a failure may pass. All requests here may be repeated: they name their object or change nothing. */
  async function ask<T>(signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    return await retry(request, { clock, signal, backoff: retryPauses, attempts: maxAttempts, isPassing });
  }

  return {
    /** @returns undefined if there is a Job of that name already. */
    async create(manifest: Kinds['Job'], signal: AbortSignal): Promise<JobFacts | undefined> {
      try {
        return jobFacts(await ask(signal, () => api.create(manifest, { signal })));
      } catch (error) {
        if (isStatus(error, 409)) return undefined;
        throw refusal(error, 'could not create the Job of the build', signal);
      }
    },
    async createSecret(manifest: Kinds['Secret'], signal: AbortSignal): Promise<void> {
      try {
        await ask(signal, () => api.create(manifest, { signal }));
      } catch (error) {
        // The random name is used for this build only, so an earlier attempt succeeded and its answer was lost.
        if (isStatus(error, 409)) return;
        throw refusal(error, 'could not create the Secret of the build', signal);
      }
    },
    /** Whether there is a Secret of that name. A dry run of creating one finds out, so that no right to read Secrets is needed. */
    async hasSecret(name: string, signal: AbortSignal): Promise<boolean> {
      const secret = { ...typeOf('Secret'), metadata: { name, namespace } };
      try {
        await ask(signal, () => api.create(secret, { signal, dryRun: true }));
        return false;
      } catch (error) {
        if (isStatus(error, 409)) return true;
        throw refusal(error, 'could not look for the Secret of the build', signal);
      }
    },
    /** Deletes the Job; the garbage collector deletes its pods and its Secret. It is no error if it is gone. */
    async delete(name: string, signal: AbortSignal, uid?: string): Promise<void> {
      try {
        await ask(signal, () => api.delete('Job', { namespace, name }, { uid }, { signal }));
      } catch (error) {
        throw refusal(error, 'could not delete the Job of the build', signal);
      }
    },
    async list(labelSelector: string, signal: AbortSignal): Promise<JobFacts[]> {
      try {
        const found = await ask(signal, () => api.list('Job', namespace, { labelSelector, limit: 1_000 }, { signal }));
        return found.items.map(jobFacts);
      } catch (error) {
        throw refusal(error, 'could not list the Jobs of builds', signal);
      }
    },
    /** @returns what the Job controller says about pods that it could not create; undefined if it says nothing. */
    async podRefusal(jobUid: string, signal: AbortSignal): Promise<string | undefined> {
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

export type BuildJobs = ReturnType<typeof createBuildJobs>;

function refusal(error: unknown, what: string, signal: AbortSignal): AppError {
  if (signal.aborted) return error instanceof AppError ? error : cancellation(signal);
  const message = `${what}: ${toAppError(error).message}`;
  const quota = isStatus(error, 403) && /quota/i.test(message);
  return new AppError(quota ? 'quota_exceeded' : 'builder_unavailable', message, {
    cause: error,
    phase: quota ? 'schedule' : 'build',
  });
}
