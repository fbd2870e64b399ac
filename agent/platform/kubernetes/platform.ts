/** The `kubernetes` platform: the parts of this folder behind the interface of the version engine. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { cancellation } from '../../../shared/wait/abort.ts';
import { systemClock, type Clock } from '../../../shared/wait/clock.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Images } from '../../images/images.ts';
import type { Sources } from '../../source/sources.ts';
import { noPin, type Platform } from '../platform.ts';
import { adoptVersions, hasReplicas } from './adopt.ts';
import type { KubeApi } from '../../kube/api.ts';
import { createObjects, platformError } from './objects/objects.ts';
import { createDesired } from './objects/desired.ts';
import { createDrift } from './objects/drift.ts';
import { discardVersion, removeApp, stopVersion } from './end.ts';
import { createLogSlots, followLogs } from './logs.ts';
import { pullSecretManifest, type PullSecret } from './pull-secret.ts';
import { createPodReports } from './rollout/pod-reports.ts';
import { createProber } from './rollout/probe.ts';
import { startVersion } from './rollout/start.ts';
import { switchService } from './rollout/switch.ts';
import { createTargets } from './rollout/targets.ts';
import { startPicture } from './picture/picture.ts';
import { AppliedObjects } from './objects/applied-objects.ts';
import { Workloads } from './objects/workloads.ts';

export interface KubernetesPlatformDeps {
  /** Not closed with the platform. */
  readonly api: KubeApi;
  readonly appsNamespace: string;
  /** Names of Secrets in the apps namespace. */
  readonly imagePullSecrets: readonly string[];
  /** A further one, which the agent makes. */
  readonly pullSecret?: PullSecret | undefined;
  readonly registry: Pick<Registry, 'digest'>;
  readonly sources: Pick<Sources, 'resolve'>;
  readonly images: Pick<Images, 'ensure' | 'adopt' | 'releaseLead' | 'repository'>;
  readonly log: Log;
  readonly clock?: Clock;
}

export interface KubernetesPlatform extends Platform {
  /** The lead is lost: nothing is applied or repaired until the next `adopt`. Targets are still reported. */
  releaseLead(): void;
}

/** Starts to watch the apps namespace. Nothing in the cluster changes until a method asks for it. */
export function createKubernetesPlatform(deps: KubernetesPlatformDeps): KubernetesPlatform {
  const { api, appsNamespace: namespace, pullSecret, registry, sources, images, log, clock = systemClock } = deps;
  const stop = new AbortController();
  const prober = createProber({ clock });
  const targets = createTargets({ prober });
  const desired = createDesired();
  const objects = createObjects({ api, namespace, clock });
  const picture = startPicture({
    api,
    namespace,
    onPod: (change) => targets.take(change),
    onApplied(kind, change) {
      applied.observed(kind, change);
      const { app } = change.value;
      if (app !== undefined) drift.look(app);
    },
    log,
    clock,
  });
  const applied = new AppliedObjects({ picture, clock });
  const imagePullSecrets = [...deps.imagePullSecrets, ...(pullSecret === undefined ? [] : [pullSecret.name])];
  const options = { imagePullSecrets, builtRepository: images.repository };
  const workloads = new Workloads({ objects, applied, options });
  const drift = createDrift({ desired, workloads, log, clock });
  const reports = createPodReports({ api, namespace });
  const parts = {
    api,
    namespace,
    objects,
    desired,
    picture,
    targets,
    applied,
    workloads,
    drift,
    reports,
    prober,
    logSlots: createLogSlots(),
    log,
    clock,
  };

  /** Runs a task that also ends with the platform. @throws AppError for everything that the task throws. */
  async function call<T>(signal: AbortSignal, what: string, task: (either: AbortSignal) => Promise<T>): Promise<T> {
    const either = AbortSignal.any([signal, stop.signal]);
    try {
      return await task(either);
    } catch (error) {
      throw either.aborted && !(error instanceof AppError) ? cancellation(either) : platformError(error, what);
    }
  }

  return {
    name: 'kubernetes',
    async pin(spec, signal) {
      if (spec.image !== undefined) return { ...noPin, imageDigest: await registry.digest(spec.image, signal) };
      return { ...noPin, sourceDigest: await sources.resolve(spec, signal) };
    },
    async prepare(run, options) {
      if (run.spec.image === undefined) return { ...run.pin, ...(await images.ensure(run, options)) };
      options.onPhase('source', 'asks the registry for the digest of the image');
      try {
        return { ...noPin, imageDigest: await registry.digest(run.spec.image, options.signal) };
      } catch (error) {
        // The nodes may reach the registry in a way that the agent cannot (a mirror): let them try by tag.
        if (toAppError(error).code === 'registry_unavailable') return run.pin;
        throw error;
      }
    },
    start: (run, options) =>
      call(options.signal, `start of ${run.app}`, (signal) => startVersion(parts, run, { ...options, signal })),
    targets: (app, version) => targets.of(app, version),
    mayRun: (app, version) => hasReplicas(picture, app, version),
    onTargets: (listener) => targets.onChange(listener),
    switchTo: (run, signal) => call(signal, `switch of ${run.app}`, (either) => switchService(parts, run, either)),
    stop: (app, version, signal) =>
      call(signal, `stop of ${app}`, (either) => stopVersion(parts, app, version, either)),
    discard: (app, version, signal) =>
      call(signal, `discard of ${app}`, (either) => discardVersion(parts, app, version, either)),
    remove: (app, { volumes, signal }) =>
      call(signal, `removal of ${app}`, (either) => removeApp(parts, app, { volumes, signal: either })),
    adopt: (runs, signal) =>
      call(signal, 'adoption', async (either) => {
        if (pullSecret !== undefined) await objects.apply(pullSecretManifest(pullSecret), either);
        await adoptVersions(parts, runs, either);
        await images.adopt(runs, either);
      }),
    logs: (query, signal) => followLogs(parts, query, AbortSignal.any([signal, stop.signal])),
    releaseLead() {
      images.releaseLead();
      desired.forgetAll();
      drift.cut();
      applied.forgetAll();
    },
    async close() {
      stop.abort(new AppError('cancelled', 'the platform is closed'));
      await drift.close();
      await picture.close();
      await prober.close();
    },
  };
}
