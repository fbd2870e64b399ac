/** Ends versions and apps: stop, discard, remove. */
import { AppError } from '../../../shared/errors.ts';
import type { Kinds, KubeObject } from '../../kube/kinds.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import { platformError, type Objects, type ObjectKind } from './objects/objects.ts';
import type { Desired } from './objects/desired.ts';
import { labels } from '../../kube/labels.ts';
import { appObjectName, selectorOf, versionObjectName } from './manifests/names.ts';
import type { Targets } from './rollout/targets.ts';
import type { AppliedObjects } from './objects/applied-objects.ts';
import type { Workloads } from './objects/workloads.ts';

export interface EndDeps {
  readonly objects: Objects;
  readonly desired: Desired;
  readonly targets: Pick<Targets, 'retire'>;
  readonly workloads: Pick<Workloads, 'lower'>;
  readonly applied: Pick<AppliedObjects, 'forget' | 'forgetVersion'>;
  readonly clock: Clock;
}

/** An app that is removed has no calls, so its processes get less time to end than usual. */
const removalGraceSecs = 5;
const pollMs = 200;

export async function stopVersion(deps: EndDeps, app: string, version: number, signal: AbortSignal): Promise<void> {
  const { objects, desired, targets, workloads } = deps;
  desired.down(app, version);
  targets.retire(app, version);
  await desired.exclusive(app, signal, async () => {
    const deployment = await ownDeployment(objects, app, version, signal);
    // The autoscaler stays: at zero replicas it does nothing, and the next start is one patch.
    if (deployment !== undefined) await workloads.lower(nameOf(deployment), signal);
  });
}

export async function discardVersion(deps: EndDeps, app: string, version: number, signal: AbortSignal): Promise<void> {
  const { objects, desired, targets } = deps;
  desired.forgetVersion(app, version);
  targets.retire(app, version);
  await desired.exclusive(app, signal, async () => {
    const name = versionObjectName(app, version);
    deps.applied.forgetVersion(app, version);
    const deployment = await ownDeployment(objects, app, version, signal);
    await objects.delete('HorizontalPodAutoscaler', name, signal);
    if (deployment !== undefined) {
      await objects.delete('Deployment', nameOf(deployment), signal, uidOf(deployment));
    }
    await Promise.all([objects.delete('Secret', name, signal), objects.delete('ConfigMap', name, signal)]);
  });
}

/** The Deployment of the version, unless another version of an app with volumes has taken it over. */
async function ownDeployment(
  objects: Pick<Objects, 'get'>,
  app: string,
  version: number,
  signal: AbortSignal,
): Promise<Kinds['Deployment'] | undefined> {
  const names = [versionObjectName(app, version), appObjectName(app)];
  const found = await Promise.all(names.map((name) => objects.get('Deployment', name, signal)));
  return found.find(
    (deployment) =>
      deployment?.metadata?.labels?.[labels.app] === app &&
      deployment.metadata.labels[labels.version] === String(version),
  );
}

/** Deletes every object of the app, without waiting for its pods. @returns `Kind/name` of what was deleted. */
export async function deleteObjects(deps: EndDeps, app: string, signal: AbortSignal): Promise<string[]> {
  const { objects, desired, applied } = deps;
  desired.forget(app);
  applied.forget(app);
  return await desired.exclusive(app, signal, async () => {
    const removed: string[] = [];
    for (const kind of ['HorizontalPodAutoscaler', 'Service', 'Deployment', 'Secret', 'ConfigMap'] as const) {
      removed.push(...(await deleteAll(objects, kind, app, signal)));
    }
    return removed;
  });
}

/** Deletes the objects, and waits until the pods and everything that controllers made for the app are gone. */
export async function removeApp(
  deps: EndDeps,
  app: string,
  options: { readonly volumes: boolean; readonly signal: AbortSignal },
): Promise<string[]> {
  const { signal } = options;
  const { objects, targets, clock } = deps;
  try {
    const pods = await objects.list('Pod', selectorOf(app), signal);
    for (const pod of pods) targets.retire(app, Number(pod.metadata?.labels?.[labels.version]));
    const removed = await deleteObjects(deps, app, signal);
    const hurried = new Set<string>();
    while (!(await isEmpty(objects, app, hurried, signal))) {
      await sleep(clock, pollMs, signal);
      signal.throwIfAborted();
    }
    if (!options.volumes) return removed;
    removed.push(...(await deleteAll(objects, 'PersistentVolumeClaim', app, signal)));
    while ((await objects.list('PersistentVolumeClaim', selectorOf(app), signal)).length > 0) {
      await sleep(clock, pollMs, signal);
      signal.throwIfAborted();
    }
    return removed;
  } catch (error) {
    throw error instanceof AppError ? error : platformError(error, `app ${app}`);
  }
}

/** Whether nothing of the app is left. @param hurried UIDs of pods whose grace was shortened already; this adds to it. */
async function isEmpty(objects: Objects, app: string, hurried: Set<string>, signal: AbortSignal): Promise<boolean> {
  const kinds = ['ReplicaSet', 'EndpointSlice', 'Pod'] as const;
  const [sets = [], slices = [], pods = []] = await Promise.all(
    kinds.map((kind) => objects.list(kind, selectorOf(app), signal)),
  );
  // Only when the ReplicaSets are gone: they would make new pods.
  const late =
    sets.length > 0 ? [] : pods.filter(({ metadata }) => metadata?.uid !== undefined && !hurried.has(metadata.uid));
  await Promise.all(
    late.map(async (pod) => {
      hurried.add(pod.metadata?.uid ?? '');
      await objects.delete('Pod', nameOf(pod), signal, {
        gracePeriodSeconds: removalGraceSecs,
        ...uidOf(pod),
      });
    }),
  );
  return sets.length + slices.length + pods.length === 0;
}

async function deleteAll(objects: Objects, kind: ObjectKind, app: string, signal: AbortSignal): Promise<string[]> {
  const found = await objects.list(kind, selectorOf(app), signal);
  const gone = await Promise.all(
    found.map(async (object) => {
      const deleted = await objects.delete(kind, nameOf(object), signal, uidOf(object));
      return deleted ? [`${kind}/${nameOf(object)}`] : [];
    }),
  );
  return gone.flat();
}

function nameOf({ metadata }: KubeObject): string {
  return metadata?.name ?? '';
}

function uidOf({ metadata }: KubeObject): { readonly uid: string | undefined } {
  return { uid: metadata?.uid };
}
