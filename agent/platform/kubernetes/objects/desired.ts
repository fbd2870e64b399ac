/** The desired state: what the engine wants to run. It is kept in memory only; `adopt` gives it again after a restart. */
import type { VersionRun } from '../../platform.ts';
import { deploymentName } from '../manifests/manifests.ts';
import { createKeyedMutex } from '../../../../shared/wait/mutex.ts';

interface DesiredVersion {
  readonly run: VersionRun;
  readonly wanted: 'up' | 'down';
}

export interface DesiredApp {
  /** The version that the Service points to. */
  service: VersionRun | undefined;
  readonly versions: Map<number, DesiredVersion>;
}

export function createDesired() {
  const apps = new Map<string, DesiredApp>();
  const changes = createKeyedMutex();

  function of(app: string): DesiredApp {
    const known = apps.get(app) ?? { service: undefined, versions: new Map<number, DesiredVersion>() };
    apps.set(app, known);
    return known;
  }

  return {
    get: (app: string) => apps.get(app),
    up(run: VersionRun): void {
      const { versions } = of(run.app);
      // Versions with volumes share one Deployment: the version that starts takes it over.
      for (const [version, other] of versions) {
        if (deploymentName(other.run) === deploymentName(run)) versions.delete(version);
      }
      versions.set(run.version, { run, wanted: 'up' });
    },
    down(app: string, version: number): void {
      const known = apps.get(app)?.versions.get(version);
      if (known !== undefined) of(app).versions.set(version, { run: known.run, wanted: 'down' });
    },
    service(run: VersionRun): void {
      of(run.app).service = run;
    },
    forgetVersion(app: string, version: number): void {
      const known = apps.get(app);
      known?.versions.delete(version);
      if (known?.service?.version === version) known.service = undefined;
    },
    forget(app: string): void {
      apps.delete(app);
    },
    forgetAll(): void {
      apps.clear();
    },
    /**
     * Runs one change of an app's objects at a time, in order, so that a repair that started before a deletion does not
     * bring an object back.
     */
    exclusive: <T>(app: string, signal: AbortSignal, task: () => Promise<T>) => changes.run(app, signal, task),
  };
}

export type Desired = ReturnType<typeof createDesired>;
