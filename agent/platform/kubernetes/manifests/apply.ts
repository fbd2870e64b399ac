/** What the platform does to objects of the apps namespace: server-side apply, scale, delete, list. */
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../../../shared/errors.ts';
import { isStatus, KubeApiError, type KubeApi } from '../../../kube/api.ts';
import type { Deployment, KubeList, KubeObject } from '../../../kube/kube-types.ts';
import { manager } from './names.ts';
import type { Manifest, ManifestKind } from './manifests.ts';

export type ObjectKind = ManifestKind | 'Pod' | 'ReplicaSet' | 'EndpointSlice';

const groups: Readonly<Record<ObjectKind, readonly [group: string, plural: string]>> = {
  ConfigMap: ['/api/v1', 'configmaps'],
  Secret: ['/api/v1', 'secrets'],
  PersistentVolumeClaim: ['/api/v1', 'persistentvolumeclaims'],
  Service: ['/api/v1', 'services'],
  Pod: ['/api/v1', 'pods'],
  Deployment: ['/apis/apps/v1', 'deployments'],
  ReplicaSet: ['/apis/apps/v1', 'replicasets'],
  HorizontalPodAutoscaler: ['/apis/autoscaling/v2', 'horizontalpodautoscalers'],
  EndpointSlice: ['/apis/discovery.k8s.io/v1', 'endpointslices'],
};

export function pathOf(kind: ObjectKind, namespace: string, name?: string): string {
  const [group, plural] = groups[kind];
  return `${group}/namespaces/${namespace}/${plural}${name === undefined ? '' : `/${name}`}`;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  /** Only this very object, not one of the same name made since. */
  readonly uid?: string;
}

export interface Objects {
  /** Server-side apply; claims are only made, never changed. @returns the object as it is now. */
  apply(manifest: Manifest, signal: AbortSignal): Promise<KubeObject>;
  /** @returns undefined where there is no such Deployment. */
  scale(deployment: string, replicas: number, signal: AbortSignal): Promise<Deployment | undefined>;
  get<T extends KubeObject>(kind: ObjectKind, name: string, signal: AbortSignal): Promise<T | undefined>;
  list<T extends KubeObject>(kind: ObjectKind, labelSelector: string, signal: AbortSignal): Promise<readonly T[]>;
  /** @returns false where there was none. */
  delete(kind: ObjectKind, name: string, signal: AbortSignal, options?: DeleteOptions): Promise<boolean>;
}

/** Tries of a request that may be repeated, when the API server is busy or its answer was lost. */
const maxTries = 3;
const retryDelayMs = 150;

export function createObjects(deps: { readonly api: Pick<KubeApi, 'request'>; readonly namespace: string }): Objects {
  const { api, namespace } = deps;

  /** Every request here is idempotent, so a lost answer is asked for again. */
  async function ask<T>(options: Parameters<KubeApi['request']>[0]): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await api.request<T>(options);
      } catch (error) {
        if (attempt >= maxTries || options.signal.aborted || !isPassing(error)) throw error;
        await delay(retryDelayMs * attempt, undefined, { signal: options.signal }).catch(() => {
          throw new AppError('cancelled', 'the request was cancelled');
        });
      }
    }
  }

  async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
    try {
      return await promise;
    } catch (error) {
      if (isStatus(error, 404)) return undefined;
      throw error;
    }
  }

  return {
    async apply(manifest, signal) {
      const { kind } = manifest;
      const { name } = manifest.metadata;
      if (kind === 'PersistentVolumeClaim') {
        // Most of a claim can not be changed, and a smaller size is refused: what exists is the app's data and stays.
        const existing = await orUndefined(
          ask<KubeObject>({ method: 'GET', path: pathOf(kind, namespace, name), signal }),
        );
        if (existing !== undefined) return existing;
      }
      return await ask<KubeObject>({
        method: 'PATCH',
        path: pathOf(kind, namespace, name),
        query: { fieldManager: manager, force: true },
        contentType: 'application/apply-patch+yaml',
        body: { ...manifest, metadata: { ...manifest.metadata, namespace } },
        signal,
      });
    },

    async scale(deployment, replicas, signal) {
      return await orUndefined(
        ask<Deployment>({
          method: 'PATCH',
          path: pathOf('Deployment', namespace, deployment),
          // A manager of its own: the field belongs to whoever scaled last, never to an apply.
          query: { fieldManager: `${manager}-scale` },
          contentType: 'application/merge-patch+json',
          body: { spec: { replicas } },
          signal,
        }),
      );
    },

    async get<T extends KubeObject>(kind: ObjectKind, name: string, signal: AbortSignal) {
      return await orUndefined(ask<T>({ method: 'GET', path: pathOf(kind, namespace, name), signal }));
    },

    async list<T extends KubeObject>(kind: ObjectKind, labelSelector: string, signal: AbortSignal) {
      const found = await ask<KubeList<T>>({
        method: 'GET',
        path: pathOf(kind, namespace),
        query: { labelSelector },
        signal,
      });
      return found.items;
    },

    async delete(kind, name, signal, options = {}) {
      try {
        await ask({
          method: 'DELETE',
          path: pathOf(kind, namespace, name),
          body: {
            propagationPolicy: 'Background',
            ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
            ...(options.uid === undefined ? {} : { preconditions: { uid: options.uid } }),
          },
          signal,
        });
        return true;
      } catch (error) {
        // 409 with a uid: another object has the name now, so the one that was meant is gone.
        if (isStatus(error, 404) || (options.uid !== undefined && isStatus(error, 409))) return false;
        throw error;
      }
    },
  };
}

function isPassing(error: unknown): boolean {
  if (error instanceof AppError) return error.code === 'platform_error';
  return isStatus(error, 409, 429, 500, 502, 503, 504);
}

/** A refusal of the API server as the error people see. */
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
