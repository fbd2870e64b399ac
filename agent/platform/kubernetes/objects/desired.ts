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

export interface Desired {
  get(app: string): DesiredApp | undefined;
  up(run: VersionRun): void;
  down(app: string, version: number): void;
  service(run: VersionRun): void;
  forgetVersion(app: string, version: number): void;
  forget(app: string): void;
  forgetAll(): void;
  /**
   * Runs one change of an app's objects at a time, in order, so that a repair that started before a deletion does not
   * bring an object back.
   */
  exclusive<T>(app: string, signal: AbortSignal, task: () => Promise<T>): Promise<T>;
}

export function createDesired(): Desired {
  const apps = new Map<string, DesiredApp>();
  const changes = createKeyedMutex();

  function of(app: string): DesiredApp {
    const known = apps.get(app) ?? { service: undefined, versions: new Map<number, DesiredVersion>() };
    apps.set(app, known);
    return known;
  }

  return {
    get: (app) => apps.get(app),
    up(run) {
      const { versions } = of(run.app);
      // Versions with volumes share one Deployment: the version that starts takes it over.
      for (const [version, other] of versions) {
        if (deploymentName(other.run) === deploymentName(run)) versions.delete(version);
      }
      versions.set(run.version, { run, wanted: 'up' });
    },
    down(app, version) {
      const known = apps.get(app)?.versions.get(version);
      if (known !== undefined) of(app).versions.set(version, { run: known.run, wanted: 'down' });
    },
    service(run) {
      of(run.app).service = run;
    },
    forgetVersion(app, version) {
      const known = apps.get(app);
      known?.versions.delete(version);
      if (known?.service?.version === version) known.service = undefined;
    },
    forget(app) {
      apps.delete(app);
    },
    forgetAll() {
      apps.clear();
    },
    exclusive: (app, signal, task) => changes.run(app, signal, task),
  };
}
