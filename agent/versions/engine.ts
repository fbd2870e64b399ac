/**
 * Every app of this leader. Declarations (apply, rollback, delete) go one at a time: plan, commit, hand over to the machines, wait for the
 * routers. Calls (`ensure`) go straight to the machine of their app.
 */
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { resolveAppConfig, type AppConfig } from '../../shared/protocol/app-config.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { PlannedChange } from '../../shared/protocol/views.ts';
import { deadlineSignal } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { noPin, type Pin, type Platform, type VersionRun } from '../platform/platform.ts';
import type { RouteHub, Settlement } from '../routes/hub.ts';
import type { RouterLinks } from '../routes/router-links.ts';
import type { AppStore, Declaration } from '../store/app-store.ts';
import type { Outbox } from '../store/outbox.ts';
import { declaredVersion, type AppRecord } from '../store/records.ts';
import type { ActivityLog, IdleRule } from './activity.ts';
import { Declarations } from './declarations.ts';
import { DueTimer } from './due-timer.ts';
import { AppMachine } from './machine/app-machine.ts';
import type { MachineDeps, VersionMetrics } from './machine/machine-deps.ts';
import { pinSpecs } from './pins.ts';
import type { KeepAwake } from './plan/keep-awake.ts';
import { planApply, planRollback } from './plan/plan.ts';
import { Removals } from './removals.ts';

interface EngineDeps {
  readonly platform: Platform;
  readonly store: AppStore;
  readonly outbox: Outbox;
  readonly epoch: number;
  readonly hub: RouteHub;
  readonly links: RouterLinks;
  readonly activity: ActivityLog;
  readonly defaults: AppConfig;
  readonly keepAwake: KeepAwake;
  readonly metrics: VersionMetrics;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly log: Log;
  /** Called when Postgres refuses a write because another agent leads. */
  readonly onFenced: (error: AppError) => void;
}

export interface ApplyResult {
  readonly changes: PlannedChange[];
  readonly routers: Settlement;
}

/** How long a declaration that promises nothing about routers waits for them all the same. */
const courtesyMs = 1_000;
const nobodyWaitedFor: Settlement = { acknowledged: 0, expired: 0 };

export class Engine {
  readonly #deps: EngineDeps;
  readonly #machines = new Map<string, AppMachine>();
  readonly #closing = new AbortController();
  readonly #declarations: Declarations;
  readonly #removals: Removals;
  readonly #dueTimer: DueTimer;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: EngineDeps) {
    const { signal } = this.#closing;
    this.#deps = deps;
    this.#declarations = new Declarations(deps, (records) => this.#reload(records), signal);
    this.#removals = new Removals({ ...deps, signal });
    this.#dueTimer = new DueTimer({ ...deps, look: (app) => this.#machines.get(app)?.look() ?? 'change' });
  }

  /** Loads every app, takes over what runs, publishes the routes. @throws AppError store_unavailable, platform_error */
  async start(signal: AbortSignal): Promise<void> {
    const { platform, store, defaults } = this.#deps;
    const records = await store.load();
    const wakes = Map.groupBy(await store.wakes(), ({ app }) => app);
    await platform.adopt(
      records.flatMap((record) => runsOf(record, defaults)),
      signal,
    );
    this.#unsubscribe = platform.onTargets((app, version) => this.#machines.get(app)?.targetsChanged(version));
    for (const record of records) this.#add(record).adopt(wakes.get(record.name)?.map(({ ageMs }) => ageMs));
    this.#dueTimer.start();
  }

  /** @throws AppError app_not_found */
  machine(app: string): AppMachine {
    const machine = this.#machines.get(app);
    if (!machine) throw new AppError('app_not_found', `there is no app ${app}`);
    return machine;
  }

  /** All machines, sorted by the names of their apps. */
  machines(): AppMachine[] {
    return [...this.#machines.values()].toSorted((a, b) => (a.record.name < b.record.name ? -1 : 1));
  }

  /** When the app counts as idle; undefined if there is no such app. */
  idleRule(app: string): IdleRule | undefined {
    const container = this.#machines.get(app)?.config.container;
    return (
      container && {
        periodMs: container.idle_shutdown_secs * 1_000,
        watermarkBytes: container.idle_bytes_high_watermark,
      }
    );
  }

  /** Declares apps, all or none. Once it returns, no router sends a call to an older version (strict version check). */
  apply(specs: readonly AppSpec[], dryRun: boolean, actor: string): Promise<ApplyResult> {
    return this.#apply(() => specs, dryRun, actor);
  }

  /** Declares an app again with the spec that it has when its turn comes, which looks up its source. @throws AppError app_not_found */
  async repin(app: string, actor: string): Promise<PlannedChange> {
    const { changes } = await this.#apply(() => [declaredVersion(this.machine(app).record).spec], false, actor);
    const [change] = changes;
    if (!change) throw new AppError('internal', `app ${app} was not declared`);
    return change;
  }

  /**
   * The same, unless the newest version has the source that is found: it may have failed or have been rolled back, and is not made again.
   * @returns undefined if nothing was declared. @throws AppError app_not_found
   */
  async repinIfNew(app: string, actor: string): Promise<PlannedChange | undefined> {
    const isKnown = (name: string, { sourceDigest }: Pin): boolean => {
      const { versions, latest } = this.machine(name).record;
      return versions.get(latest)?.sourceDigest === sourceDigest;
    };
    const { changes } = await this.#apply(
      () => [declaredVersion(this.machine(app).record).spec],
      false,
      actor,
      isKnown,
    );
    return changes[0];
  }

  /** @param isKnown whether an app is left as it is, by what its spec names now. */
  async #apply(
    specsNow: () => readonly AppSpec[],
    dryRun: boolean,
    actor: string,
    isKnown: (app: string, pin: Pin) => boolean = () => false,
  ): Promise<ApplyResult> {
    const changes = await this.#declarations.inTurn(async () => {
      const all = specsNow();
      const pins = await pinSpecs(this.#deps, all, this.#closing.signal);
      const specs = all.filter(({ name }) => !isKnown(name, pins.get(name) ?? noPin));
      const plan = planApply({
        specs,
        pins,
        records: this.#records(),
        isServing: (app) => this.#machines.get(app)?.state === 'ready',
        defaults: this.#deps.defaults,
        actor,
        now: new Date().toISOString(),
      });
      if (dryRun) return plan.changes;
      for (const { app, action } of plan.changes) if (action === 'unchanged') this.#retryFailed(app);
      if (plan.changes.some(({ action }) => action !== 'unchanged')) {
        for (const { name } of plan.declaration.created) await this.#removals.end(name);
        await this.#declarations.commit(plan.declaration);
        this.#handOver(plan.declaration);
      }
      return plan.changes;
    });
    if (dryRun || changes.length === 0) return { changes: [...changes], routers: nobodyWaitedFor };
    // An unchanged app is waited for too: it may have been declared a moment ago by a call that was cut.
    const declared = changes.filter(({ action }) => action !== 'create').map(({ app }) => app);
    return { changes: [...changes], routers: await this.#untilRoutersKnow(declared) };
  }

  /** @param version without it the last version that answered before. @throws AppError app_not_found, version_not_found, route_conflict */
  async rollback(app: string, version: number | undefined, actor: string): Promise<{ version: number; from: number }> {
    const result = await this.#declarations.inTurn(async () => {
      const { record } = this.machine(app);
      const { live, pending } = record;
      const number = version ?? versionBefore(record);
      if (number === live && pending === null) return { version: number, from: number };
      const to = record.versions.get(number) ?? (await this.#deps.store.version(app, number));
      if (!to) throw new AppError('version_not_found', `app ${app} has no version ${number}`);
      const declaration = planRollback(record, to, { records: this.#records(), actor, now: new Date().toISOString() });
      await this.#declarations.commit(declaration);
      this.#handOver({ ...declaration, updated: declaration.updated.map((update) => ({ ...update, added: to })) });
      return { version: number, from: pending ?? live };
    });
    await this.#untilRoutersKnow([app]);
    return result;
  }

  /** @returns what was removed, as `Kind/name`. @throws AppError app_not_found; platform_error when the removal goes on in the background. */
  delete(app: string, volumes: boolean, actor: string): Promise<string[]> {
    return this.#declarations.inTurn(async () => {
      const machine = this.machine(app);
      const message = volumes ? 'with its volumes' : 'volumes are kept';
      await this.#declarations.commit({
        created: [],
        updated: [],
        deleted: [app],
        events: [{ actor, app, version: null, kind: 'app.deleted', message }],
      });
      await this.#forget(machine);
      return await this.#removals.remove(app, volumes);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort(new AppError('cancelled', 'the agent stops'));
    this.#unsubscribe?.();
    this.#dueTimer.close();
    await Promise.all([...this.#machines.values()].map((machine) => machine.close()));
    await this.#declarations.idle();
    await this.#removals.idle();
  }

  #add(record: AppRecord): AppMachine {
    const { hub, links, activity } = this.#deps;
    const deps: MachineDeps = {
      ...this.#deps,
      release: (app, targets, waitMs, signal) => links.release({ app, targets, waitMs, routers: hub.known }, signal),
      isIdle: (app, unreported) => activity.idle(app, unreported),
      onChange: (app) => this.#dueTimer.changed(app),
    };
    const machine = new AppMachine(deps, record);
    this.#machines.set(record.name, machine);
    return machine;
  }

  /** Gives the machines what was committed, and publishes it. */
  #handOver(declaration: Declaration): void {
    for (const record of declaration.created) this.#add(record).publish();
    for (const { app, added } of declaration.updated) this.machine(app.name).declared({ ...app, added });
  }

  /** Resolves when routers know these apps: all of them under the strict version check, otherwise those that answer soon. */
  async #untilRoutersKnow(apps: readonly string[]): Promise<Settlement> {
    const { hub } = this.#deps;
    const { signal } = this.#closing;
    const isStrict = apps.some((app) => {
      const machine = this.#machines.get(app);
      return machine?.record.pending === null && machine.config.kubernetes.strict_version_check;
    });
    if (isStrict) return await hub.settled(hub.revision, signal);
    using courtesy = deadlineSignal({ clock: this.#deps.clock, ms: courtesyMs, signal });
    return await hub.settledAtKnown(hub.revision, courtesy.signal).catch(() => nobodyWaitedFor);
  }

  /** The app is deleted. Connected routers know it before its pods go; a router that is not connected holds until it knows. */
  async #forget(machine: AppMachine): Promise<void> {
    const { hub, activity } = this.#deps;
    const { name } = machine.record;
    this.#machines.delete(name);
    activity.drop(name);
    const closed = machine.close();
    const revision = hub.remove(name); // at once, so a held call finds no app instead of a failed start
    await closed;
    await hub.settledAtKnown(revision, this.#closing.signal);
  }

  #retryFailed(app: string): void {
    const machine = this.machine(app);
    if (machine.state !== 'failed') return;
    machine.retry();
    machine.publish();
  }

  /** Takes over what Postgres has after a commit of unknown outcome. */
  async #reload(records: readonly AppRecord[]): Promise<void> {
    const names = new Set(records.map(({ name }) => name));
    for (const machine of this.machines()) {
      const { name } = machine.record;
      if (names.has(name)) continue;
      await this.#forget(machine);
      // `close` waits for the removal, and its failures are retried: nobody waits here.
      this.#removals.remove(name, false).catch(() => undefined);
    }
    for (const record of records) {
      const known = this.#machines.get(record.name);
      if (!known) {
        await this.#removals.end(record.name);
        this.#add(record).publish();
      } else if (known.record.generation < record.generation)
        known.declared({ ...record, added: declaredVersion(record) });
    }
  }

  #records(): Map<string, AppRecord> {
    return new Map([...this.#machines].map(([name, machine]) => [name, machine.record]));
  }
}

/** The versions of an app that may run. Its newest version is loaded for its failure too, and may not run. */
function runsOf(record: AppRecord, defaults: AppConfig): VersionRun[] {
  const { name: app, versions, live, pending, good, kept } = record;
  return [...versions.values()]
    .filter(({ version }) => [live, pending, good, kept].includes(version))
    .map(({ version, spec, imageDigest, sourceDigest, imageTag }) => ({
      app,
      version,
      spec,
      config: resolveAppConfig(defaults, spec.config),
      pin: { imageDigest, sourceDigest, imageTag },
    }));
}

/**
 * The version to go back to when none is named: the live one while another is pending, the last good one while the live one has not
 * answered, else the one that answered before. @throws AppError version_not_found
 */
function versionBefore({ name, live, pending, good, kept }: AppRecord): number {
  const before = pending !== null ? live : good === live ? kept : good;
  if (before !== null) return before;
  throw new AppError(
    'version_not_found',
    `no other version of app ${name} has answered yet; name the version to go back to`,
  );
}
