/**
 * What is asked of the API server, by the object API of @kubernetes/client-node. No retries here: those belong to the
 * callers, who know what may be repeated.
 */
import {
  createConfiguration,
  KubernetesObjectApi,
  PatchStrategy,
  ServerConfiguration,
  wrapHttpLibrary,
  type Configuration,
  type KubernetesListObject,
  type KubernetesObject,
  type V1APIResourceList,
} from '@kubernetes/client-node';
import { ObjectSerializer } from '@kubernetes/client-node/dist/serializer.js';
import { getSerializationType } from '@kubernetes/client-node/dist/util.js';
import type { Clock } from '../../shared/wait/clock.ts';
import type { ClusterConfig } from './cluster-config.ts';
import { isStatus, KubeApiError } from './errors.ts';
import { knownResources, pathOf, typeOf, type Kind, type Kinds } from './kinds.ts';
import { createTransport, type Call, type Query, type StreamCall } from './transport.ts';

export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

export interface ListQuery {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  /** From the answer before: the next page. */
  readonly continue?: string | undefined;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  /** Deletes only the object of this UID, not one of the same name that was made since. */
  readonly uid?: string | undefined;
}

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

export interface LogQuery {
  readonly container: string;
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly timestamps?: boolean;
  readonly tailLines?: number | undefined;
  readonly sinceTime?: string | undefined;
}

/**
 * Every method throws KubeApiError when the API server refuses, AppError platform_error when no answer comes, and
 * cancelled when the signal aborts. Objects and patches carry their namespace in `metadata`.
 */
export interface KubeApi {
  /** @returns undefined when there is no such object. */
  read<K extends Kind>(kind: K, name: ObjectName, call: Call): Promise<Kinds[K] | undefined>;
  list<K extends Kind>(
    kind: K,
    namespace: string,
    query: ListQuery,
    call: Call,
  ): Promise<KubernetesListObject<Kinds[K]>>;
  create<T extends Kinds[Kind]>(object: T, call: Call & { readonly dryRun?: boolean }): Promise<T>;
  replace<T extends Kinds[Kind]>(object: T, call: Call): Promise<T>;
  /** Server-side apply; takes over fields that others manage. */
  apply<T extends Kinds[Kind]>(object: T, call: Call & { readonly fieldManager: string }): Promise<T>;
  /** Merge patch. @returns undefined when there is no such object. */
  patch<K extends Kind>(
    kind: K,
    name: ObjectName,
    patch: object,
    call: Call & { readonly fieldManager?: string },
  ): Promise<Kinds[K] | undefined>;
  /** What depends on the object is deleted in the background. @returns false when there was no such object. */
  delete(kind: Kind, name: ObjectName, options: DeleteOptions, call: Call): Promise<boolean>;
  /** Changes from a resourceVersion on, until the API server ends the watch. */
  watch<K extends Kind>(
    kind: K,
    namespace: string,
    query: Query,
    call: StreamCall,
  ): AsyncGenerator<WatchEvent<Kinds[K]>>;
  /** Lines of a pod's log. */
  log(pod: ObjectName, query: LogQuery, call: StreamCall): AsyncGenerator<string>;
  close(): Promise<void>;
}

/** Enough for many apps that wake at once, and few for an API server. */
const defaultMaxRequests = 16;

export function createKubeApi(deps: {
  readonly config: ClusterConfig;
  /** Connections for requests; streams have their own. */
  readonly maxRequests?: number;
  readonly clock: Clock;
}): KubeApi {
  const { config, maxRequests = defaultMaxRequests, clock } = deps;
  const transport = createTransport({ config, maxRequests, clock });
  const resources = knownResources();
  const baseServer = new ServerConfiguration(config.server, {});

  async function ask<T>(call: Call, work: (objects: KubernetesObjectApi) => Promise<T>): Promise<T> {
    return await transport.within(call, async (send) => {
      const httpApi = wrapHttpLibrary({ send });
      const configuration = createConfiguration({ baseServer, httpApi, authMethods: { default: config } });
      return await work(new ObjectApi(configuration, resources));
    });
  }

  return {
    async read(kind, name, call) {
      return await unlessMissing(ask(call, (objects) => objects.read({ ...typeOf(kind), metadata: { ...name } })));
    },
    async list(kind, namespace, query, call) {
      const { apiVersion } = typeOf(kind);
      const { fieldSelector, labelSelector, limit, continue: page } = query;
      return await ask(call, (objects) =>
        objects.list(
          apiVersion,
          kind,
          namespace,
          undefined,
          undefined,
          undefined,
          fieldSelector,
          labelSelector,
          limit,
          page,
        ),
      );
    },
    async create(object, call) {
      return await ask(call, (objects) => objects.create(object, undefined, call.dryRun === true ? 'All' : undefined));
    },
    async replace(object, call) {
      return await ask(call, (objects) => objects.replace(object));
    },
    async apply(object, call) {
      const { fieldManager } = call;
      return await ask(call, (objects) =>
        objects.patch(object, undefined, undefined, fieldManager, true, PatchStrategy.ServerSideApply),
      );
    },
    async patch(kind, name, patch, call) {
      const { metadata, ...rest } = patch as { readonly metadata?: object };
      const object = { ...typeOf(kind), metadata: { ...metadata, ...name }, ...rest };
      const patched = ask(call, (objects) =>
        objects.patch<KubernetesObject>(
          object,
          undefined,
          undefined,
          call.fieldManager,
          undefined,
          PatchStrategy.MergePatch,
        ),
      );
      return (await unlessMissing(patched)) as Kinds[typeof kind] | undefined;
    },
    async delete(kind, name, { uid, gracePeriodSeconds }, call) {
      const object = { ...typeOf(kind), metadata: { ...name } };
      const body = {
        propagationPolicy: 'Background',
        ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
        ...(uid !== undefined && { preconditions: { uid } }),
      };
      try {
        await ask(call, (objects) =>
          objects.delete(object, undefined, undefined, undefined, undefined, undefined, body),
        );
        return true;
      } catch (error) {
        // 409 with a uid: another object has the name now, so the one that was meant is gone.
        if (isStatus(error, 404) || (uid !== undefined && isStatus(error, 409))) return false;
        throw error;
      }
    },
    async *watch(kind, namespace, query, call) {
      const model = getSerializationType(typeOf(kind).apiVersion, kind);
      for await (const line of transport.lines(pathOf(kind, namespace), { ...query, watch: true }, call)) {
        const event = JSON.parse(line) as WatchEvent<unknown> | WatchError;
        if (event.type === 'ERROR') {
          const { code = 500, reason = '', message = 'watch error' } = event.object;
          throw new KubeApiError(code, reason, message);
        }
        // As the object API does with answers, so that both can be compared.
        yield { type: event.type, object: ObjectSerializer.deserialize(event.object, model) };
      }
    },
    log: ({ namespace, name }, query, call) =>
      transport.lines(`${pathOf('Pod', namespace)}/${name}/log`, { ...query }, call),
    close: () => transport.close(),
  };
}

interface WatchError {
  readonly type: 'ERROR';
  readonly object: { readonly code?: number; readonly reason?: string; readonly message?: string };
}

/** With what discovery would answer, known before. */
class ObjectApi extends KubernetesObjectApi {
  constructor(configuration: Configuration, resources: Record<string, V1APIResourceList>) {
    super(configuration);
    this.apiVersionResourceCache = resources;
  }
}

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}
