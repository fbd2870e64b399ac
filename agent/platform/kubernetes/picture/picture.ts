/** The observed state of the apps namespace: one informer for each kind, limited to our label, and one event for changes. */
import type { Log } from '../../../../shared/log.ts';
import type { Clock } from '../../../../shared/wait/clock.ts';
import type { KubeApi } from '../../../kube/api.ts';
import { appliedFacts, podFacts, type AppliedFacts, type PodFacts } from './facts.ts';
import { startInformer, type Change, type Informer } from '../../../kube/informer.ts';
import { selectorOf } from '../manifests/names.ts';
import type { ManifestKind } from '../manifests/manifests.ts';

/** Claims are not watched: they are never changed, and the Deployments that use them are watched. */
export type WatchedKind = Exclude<ManifestKind, 'PersistentVolumeClaim'>;
export const watchedKinds = ['Deployment', 'Service', 'ConfigMap', 'Secret', 'HorizontalPodAutoscaler'] as const;

export interface Picture {
  readonly pods: Informer<PodFacts | undefined>;
  readonly applied: Readonly<Record<WatchedKind, Informer<AppliedFacts>>>;
  podsOf(app: string, version?: number): PodFacts[];
  /** Calls the listener after changes, once for those that arrive together. @returns what unsubscribes. */
  onChange(listener: () => void): () => void;
  synced(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export function startPicture(deps: {
  readonly api: Pick<KubeApi, 'list' | 'watch'>;
  readonly namespace: string;
  /** Called before the listeners of onChange. */
  readonly onPod: (change: Change<PodFacts | undefined>) => void;
  readonly onApplied: (kind: WatchedKind, change: Change<AppliedFacts>) => void;
  readonly log: Log;
  readonly clock: Clock;
}): Picture {
  const { api, namespace, log, clock } = deps;
  const listeners = new Set<() => void>();
  let telling: NodeJS.Immediate | undefined;
  /** Notifies once for changes that arrive together, and after the probes that they start: a held call waits for those. */
  const changed = (): void => {
    telling ??= setImmediate(() => {
      telling = undefined;
      for (const listener of listeners) listener();
    });
  };
  /** Pods by app and name, so that the cost of a look does not grow with the number of apps. */
  const byApp = new Map<string, Map<string, PodFacts>>();
  const index = ({ type, name, value }: Change<PodFacts | undefined>): void => {
    if (value === undefined) return;
    const own = byApp.get(value.app) ?? new Map<string, PodFacts>();
    if (type === 'set') own.set(name, value);
    else own.delete(name);
    if (own.size > 0) byApp.set(value.app, own);
    else byApp.delete(value.app);
  };
  const shared = { api, namespace, labelSelector: selectorOf(), log, clock };
  const pods = startInformer<'Pod', PodFacts | undefined>({
    ...shared,
    kind: 'Pod',
    keep: podFacts,
    onChange(change) {
      index(change);
      deps.onPod(change);
      changed();
    },
  });
  const slices = startInformer<'EndpointSlice', undefined>({
    ...shared,
    kind: 'EndpointSlice',
    // Only the event counts: switch.ts reads the slices themselves.
    keep: () => undefined,
    onChange: changed,
  });
  const appliedInformer = (kind: WatchedKind): Informer<AppliedFacts> =>
    startInformer<WatchedKind, AppliedFacts>({
      ...shared,
      kind,
      keep: appliedFacts,
      onChange(change) {
        deps.onApplied(kind, change);
        changed();
      },
    });
  const applied = {
    Deployment: appliedInformer('Deployment'),
    Service: appliedInformer('Service'),
    ConfigMap: appliedInformer('ConfigMap'),
    Secret: appliedInformer('Secret'),
    HorizontalPodAutoscaler: appliedInformer('HorizontalPodAutoscaler'),
  };
  const all: readonly Pick<Informer<unknown>, 'synced' | 'close'>[] = [pods, slices, ...Object.values(applied)];
  return {
    pods,
    applied,
    podsOf: (app, version) =>
      [...(byApp.get(app)?.values() ?? [])].filter((pod) => version === undefined || pod.version === version),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async synced(signal) {
      await Promise.all(all.map((informer) => informer.synced(signal)));
    },
    async close() {
      await Promise.all(all.map((informer) => informer.close()));
      clearImmediate(telling);
    },
  };
}
