/** The kinds of objects that the agent uses, by the types that @kubernetes/client-node generates for them. */
import type {
  CoreV1Event,
  V1APIResourceList,
  V1ConfigMap,
  V1Deployment,
  V1EndpointSlice,
  V1Job,
  V1Lease,
  V1ObjectMeta,
  V1PersistentVolumeClaim,
  V1Pod,
  V1ReplicaSet,
  V1Secret,
  V1Service,
  V2HorizontalPodAutoscaler,
} from '@kubernetes/client-node';

/** An object as JSON has it: client-node types times as Dates, and they are text. */
type Json<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

export interface Kinds {
  readonly ConfigMap: Json<V1ConfigMap>;
  readonly Deployment: Json<V1Deployment>;
  readonly EndpointSlice: Json<V1EndpointSlice>;
  readonly Event: Json<CoreV1Event>;
  readonly HorizontalPodAutoscaler: Json<V2HorizontalPodAutoscaler>;
  readonly Job: Json<V1Job>;
  readonly Lease: Json<V1Lease>;
  readonly PersistentVolumeClaim: Json<V1PersistentVolumeClaim>;
  readonly Pod: Json<V1Pod>;
  readonly ReplicaSet: Json<V1ReplicaSet>;
  readonly Secret: Json<V1Secret>;
  readonly Service: Json<V1Service>;
}
export type Kind = keyof Kinds;
export type ObjectMeta = Json<V1ObjectMeta>;
/** An object of any kind. */
export type KubeObject = Pick<Kinds[Kind], 'apiVersion' | 'kind'> & { readonly metadata?: ObjectMeta };

const versions: Readonly<Record<Kind, string>> = {
  ConfigMap: 'v1',
  Deployment: 'apps/v1',
  EndpointSlice: 'discovery.k8s.io/v1',
  Event: 'v1',
  HorizontalPodAutoscaler: 'autoscaling/v2',
  Job: 'batch/v1',
  Lease: 'coordination.k8s.io/v1',
  PersistentVolumeClaim: 'v1',
  Pod: 'v1',
  ReplicaSet: 'apps/v1',
  Secret: 'v1',
  Service: 'v1',
};

/** The first two fields of an object. */
export function typeOf<K extends Kind>(kind: K): { readonly apiVersion: string; readonly kind: K } {
  return { apiVersion: versions[kind], kind };
}

/** All kinds are namespaced, and their plurals regular. */
function pluralOf(kind: Kind): string {
  return `${kind.toLowerCase()}s`;
}

/** `/api/v1/namespaces/apps/pods` */
export function pathOf(kind: Kind, namespace: string): string {
  const version = versions[kind];
  return `/${version.includes('/') ? 'apis' : 'api'}/${version}/namespaces/${namespace}/${pluralOf(kind)}`;
}

/** What discovery would answer about these kinds, by `apiVersion`: no request for it precedes the first wake. */
export function knownResources(): Record<string, V1APIResourceList> {
  const lists: Record<string, V1APIResourceList> = {};
  for (const kind of Object.keys(versions) as Kind[]) {
    const groupVersion = versions[kind];
    const list = (lists[groupVersion] ??= { groupVersion, resources: [] });
    const name = pluralOf(kind);
    list.resources.push({ name, kind, namespaced: true, singularName: kind.toLowerCase(), verbs: [] });
  }
  return lists;
}
