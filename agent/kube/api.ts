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
  type KubernetesObject,
  type ResponseContext,
  type V1APIResourceList,
} from '@kubernetes/client-node';
import type { Clock } from '../../shared/wait/clock.ts';
import type { ClusterConfig } from './cluster-config.ts';
import { isStatus, KubeApiError } from './errors.ts';
import { knownResources, pathOf, typeOf, type Kind, type Kinds, type KubeObject } from './kinds.ts';
import { createTransport, type Call, type Query, type StreamCall } from './transport.ts';

export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

export interface ListQuery {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  /** Asks for the next page: the `continue` of the previous answer. */
  readonly continue?: string | undefined;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  /** Deletes only the object of this UID, not one of the same name that was made since. */
  readonly uid?: string | undefined;
}

export interface KubeList<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly T[];
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
  list<K extends Kind>(kind: K, namespace: string, query: ListQuery, call: Call): Promise<KubeList<Kinds[K]>>;
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

  /** What is answered is JSON, whatever client-node types it as. */
  async function ask<T>(call: Call, work: (objects: KubernetesObjectApi) => Promise<unknown>): Promise<T> {
    const answer = await transport.within(call, async (send) => {
      const httpApi = wrapHttpLibrary({ send });
      const configuration = createConfiguration({ baseServer, httpApi, authMethods: { default: config } });
      return await work(new ObjectApi(configuration, resources));
    });
    return answer as T;
  }

  return {
    read: (kind, name, call) =>
      unlessMissing(ask(call, (objects) => objects.read({ ...typeOf(kind), metadata: { ...name } }))),
    list(kind, namespace, query, call) {
      const { apiVersion } = typeOf(kind);
      const { fieldSelector, labelSelector, limit, continue: page } = query;
      const none = undefined;
      return ask(call, (objects) =>
        objects.list(apiVersion, kind, namespace, none, none, none, fieldSelector, labelSelector, limit, page),
      );
    },
    create: (object, call) =>
      ask(call, (objects) => objects.create(modelOf(object), undefined, call.dryRun === true ? 'All' : undefined)),
    replace: (object, call) => ask(call, (objects) => objects.replace(modelOf(object))),
    apply(object, call) {
      const { fieldManager } = call;
      return ask(call, (objects) =>
        objects.patch(modelOf(object), undefined, undefined, fieldManager, true, PatchStrategy.ServerSideApply),
      );
    },
    patch(kind, name, patch, call) {
      const { metadata, ...rest } = patch as { readonly metadata?: object };
      const object = { ...typeOf(kind), metadata: { ...metadata, ...name }, ...rest };
      const patched = ask<Kinds[typeof kind]>(call, (objects) =>
        objects.patch(object, undefined, undefined, call.fieldManager, undefined, PatchStrategy.MergePatch),
      );
      return unlessMissing(patched);
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
      for await (const line of transport.lines(pathOf(kind, namespace), { ...query, watch: true }, call)) {
        const event = JSON.parse(line) as WatchEvent<Kinds[typeof kind]> | WatchError;
        if (event.type === 'ERROR') {
          const { code = 500, reason = '', message = 'watch error' } = event.object;
          throw new KubeApiError(code, reason, message);
        }
        yield event;
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

/**
 * Knows already what discovery would answer, and returns answers as JSON has them: the models of client-node drop fields
 * that are newer than they are, so that an edit of such a field would go unnoticed.
 */
class ObjectApi extends KubernetesObjectApi {
  constructor(configuration: Configuration, resources: Record<string, V1APIResourceList>) {
    super(configuration);
    this.apiVersionResourceCache = resources;
  }

  protected override async processResponse<T extends KubernetesObject>(response: ResponseContext): Promise<T> {
    return JSON.parse(await response.body.text()) as T;
  }
}

/** Only the types differ: client-node sends times that are text as they are. */
function modelOf(object: KubeObject): KubernetesObject {
  return object as object;
}

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}
