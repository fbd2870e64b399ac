/** Requests about the objects of the apps namespace, repeated when they fail for a moment: apply, scale, list, delete. */
import { AppError } from '../../../../shared/errors.ts';
import type { Clock } from '../../../../shared/wait/clock.ts';
import { retry } from '../../../../shared/wait/retry.ts';
import type { DeleteOptions, KubeApi } from '../../../kube/api.ts';
import { isPassing, isStatus, KubeApiError } from '../../../kube/errors.ts';
import type { Kinds } from '../../../kube/kinds.ts';
import type { Manifest, ManifestKind } from '../manifests/manifests.ts';
import { manager } from '../../../kube/labels.ts';

export type ObjectKind = ManifestKind | 'Pod' | 'ReplicaSet' | 'EndpointSlice';

/** Attempts of a request when the API server is busy or its answer was lost. */
const maxAttempts = 3;
const retryPauses = { minMs: 150, maxMs: 450 };

export function createObjects(deps: {
  readonly api: Pick<KubeApi, 'apply' | 'patch' | 'read' | 'list' | 'delete'>;
  readonly namespace: string;
  readonly clock: Clock;
}) {
  const { api, namespace, clock } = deps;

  /** Every request here is idempotent, so it can be repeated when its answer was lost. */
  async function ask<T>(signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    return await retry(request, {
      clock,
      signal,
      backoff: retryPauses,
      attempts: maxAttempts,
      isPassing: (error) => isPassing(error) || isStatus(error, 409),
    });
  }

  return {
    /** Server-side apply. Claims are only created, never changed. @returns the object as it is now. */
    async apply(manifest: Manifest, signal: AbortSignal): Promise<Kinds[ManifestKind]> {
      const { kind } = manifest;
      const key = { namespace, name: manifest.metadata.name };
      if (kind === 'PersistentVolumeClaim') {
        // An existing claim holds the data of the app and stays: most of it cannot be changed, and a smaller size is refused.
        const existing = await ask(signal, () => api.read(kind, key, { signal }));
        if (existing !== undefined) return existing;
      }
      const object = { ...manifest, metadata: { ...manifest.metadata, namespace } };
      return await ask(signal, () => api.apply(object, { signal, fieldManager: manager }));
    },

    /** @returns undefined when there is no such Deployment. */
    async scale(deployment: string, replicas: number, signal: AbortSignal): Promise<Kinds['Deployment'] | undefined> {
      // A field manager of its own: `replicas` belongs to whoever scaled last, never to an apply.
      const call = { signal, fieldManager: `${manager}-scale` };
      const key = { namespace, name: deployment };
      return await ask(signal, () => api.patch('Deployment', key, { spec: { replicas } }, call));
    },

    get: <K extends ObjectKind>(kind: K, name: string, signal: AbortSignal) =>
      ask(signal, () => api.read(kind, { namespace, name }, { signal })),

    async list<K extends ObjectKind>(
      kind: K,
      labelSelector: string,
      signal: AbortSignal,
    ): Promise<readonly Kinds[K][]> {
      return (await ask(signal, () => api.list(kind, namespace, { labelSelector }, { signal }))).items;
    },

    /** @returns false when there was no such object. */
    delete: (kind: ObjectKind, name: string, signal: AbortSignal, options: DeleteOptions = {}) =>
      ask(signal, () => api.delete(kind, { namespace, name }, options, { signal })),
  };
}

export type Objects = ReturnType<typeof createObjects>;

/** A refusal of the API server as the error that users see. */
export function platformError(error: unknown, what: string): AppError {
  if (error instanceof AppError) return error;
  if (!(error instanceof KubeApiError)) {
    return new AppError('platform_error', `${what}: ${String(error)}`, { cause: error, phase: 'start' });
  }
  const message = `${what}: ${error.message}`;
  const options = { cause: error, phase: 'start' } as const;
  if (error.status === 403 && /quota/i.test(error.message)) return new AppError('quota_exceeded', message, options);
  // 400 and 422: the object itself is refused; 413: too large for the API server.
  if ([400, 413, 422].includes(error.status)) return new AppError('app_config_invalid', message, options);
  return new AppError('platform_error', message, options);
}
