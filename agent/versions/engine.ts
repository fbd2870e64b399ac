/**
 * Every app of this leader: declarations (one at a time: plan, commit, tell the machines, wait for the routers) and the
 * way from a call (`ensure`) to the machine of its app.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { resolveAppConfig, type AppConfig } from '../../shared/protocol/app-config.ts';
import { type AppSpec } from '../../shared/protocol/app-spec.ts';
import type { Change } from '../../shared/protocol/views.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { noPin, type Pin, type Platform } from '../platform/platform.ts';
import type { RouteHub, Settlement } from '../routes/hub.ts';
import type { RouterLinks } from '../routes/router-links.ts';
import type { AppStore, Declaration } from '../store/app-store.ts';
import type { Outbox } from '../store/outbox.ts';
import type { AppRecord } from '../store/records.ts';
import type { VersionMetrics } from './version-metrics.ts';
import type { ActivityLog, IdleRule } from './activity.ts';
import { AppMachine } from './machine/app-machine.ts';
import type { KeepAwake } from './machine/keep-awake.ts';
import { Looks } from './machine/looks.ts';
import type { MachineDeps } from './machine/machine-deps.ts';
import { planApply, planRollback } from './plan/plan.ts';
import { Removals } from './machine/removals.ts';

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
  /** Since 1970. */
  readonly wallMs: () => number;
  readonly log: Log;
  /** Another agent leads already, says Postgres. */
  readonly onFenced: (error: AppError) => void;
}

export interface ApplyResult {
  readonly changes: Change[];
  readonly routers: Settlement;
}

const commitPrepareMs = 5_000;
/** How long a declaration that promises nothing about routers waits for them all the same. */
const courtesyMs = 1_000;
const reloadMs = 2_000;
const pinTimeoutMs = 10_000;
const maxDeclarationsWaiting = 100;

export class Engine {
  readonly #deps: EngineDeps;
  readonly #machines = new Map<string, AppMachine>();
  readonly #closing = new AbortController();
  readonly #removals: Removals;
  readonly #looks: Looks;
  /** A declaration may be in Postgres that is not here. */
  #unsure = false;
  #reloading: Promise<void> = Promise.resolve();
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#removals = new Removals({ ...deps, signal: this.#closing.signal });
    this.#looks = new Looks({ ...deps, look: (app) => this.#machines.get(app)?.look() ?? 'change' });
  }

  /** Loads every app, takes over what runs, publishes the routes. @throws AppError store_unavailable */
  async start(signal: AbortSignal): Promise<void> {
    const { platform, store, defaults } = this.#deps;
    const records = await store.load();
    const wakes = Map.groupBy(await store.wakes(), ({ app }) => app);
    await platform.adopt(
      records.flatMap(({ name, versions, live, pending, good, kept }) =>
        [...versions.values()]
          // The newest is loaded for its failure too; it may not run.
          .filter(({ version }) => [live, pending, good, kept].includes(version))
          .map(({ version, spec, imageDigest, sourceDigest, imageTag }) => ({
            app: name,
            version,
            spec,
            config: resolveAppConfig(defaults, spec.config),
            pin: { imageDigest, sourceDigest, imageTag },
          })),
      ),
      signal,
    );
    this.#unsubscribe = platform.onTargets((app, version) => this.#machines.get(app)?.targetsChanged(version));
    for (const record of records) this.#add(record).adopt(wakes.get(record.name)?.map(({ ageMs }) => ageMs));
    this.#looks.start();
  }

  machine(app: string): AppMachine {
    const machine = this.#machines.get(app);
    if (!machine) throw new AppError('app_not_found', `there is no app ${app}`);
    return machine;
  }

  /** When the app counts as idle; undefined where there is no such app. */
  idleRule(app: string): IdleRule | undefined {
    const container = this.#machines.get(app)?.config.container;
    return (
      container && {
        periodMs: container.idle_shutdown_secs * 1_000,
        watermarkBytes: container.idle_bytes_high_watermark,
      }
    );
  }

  machines(): AppMachine[] {
    return [...this.#machines.values()].toSorted((a, b) => (a.record.name < b.record.name ? -1 : 1));
  }

  apply(specs: readonly AppSpec[], dryRun: boolean, actor: string): Promise<ApplyResult> {
    return this.#apply(() => specs, dryRun, actor);
  }

  /** Declares an app again as it is at its turn, so that what its source names is looked up anew. @throws AppError app_not_found */
  async repin(app: string, actor: string): Promise<Change> {
    const { changes } = await this.#apply(() => [this.#declaredSpec(app)], false, actor);
    const [change] = changes;
    if (!change) throw new AppError('internal', `app ${app} was not declared`);
    return change;
  }

  async #apply(specsNow: () => readonly AppSpec[], dryRun: boolean, actor: string): Promise<ApplyResult> {
    const changes = await this.#serially(async () => {
      const specs = specsNow();
      const pins = await this.#pin(specs);
      const plan = planApply({
        specs,
        pins,
        records: this.#records(),
        isServing: (app) => this.#machines.get(app)?.view().state === 'ready',
        defaults: this.#deps.defaults,
        actor,
        now: new Date().toISOString(),
      });
      if (dryRun) return plan.changes;
      for (const { app, action } of plan.changes) if (action === 'unchanged') this.#retryFailed(app);
      if (plan.changes.some(({ action }) => action !== 'unchanged')) {
        for (const { name } of plan.declaration.created) await this.#removals.cut(name);
        await this.#commit(plan.declaration);
        this.#take(plan.declaration);
      }
      return plan.changes;
    });
    if (dryRun) return { changes: [...changes], routers: { acknowledged: 0, expired: 0 } };
    // Also of what is unchanged: it may have been declared a moment ago, by a call that was cut.
    const declared = changes.filter(({ action }) => action !== 'create').map(({ app }) => app);
    return { changes: [...changes], routers: await this.#told(declared) };
  }

  async rollback(app: string, version: number | undefined, actor: string): Promise<{ version: number; from: number }> {
    const result = await this.#serially(async () => {
      const { record } = this.machine(app);
      const { live, pending, good, kept } = record;
      // Before one that waits is the live one; before one that has not answered (yet), the last good one.
      const number = version ?? (pending !== null ? live : good === live ? kept : good) ?? undefined;
      if (number === undefined)
        throw new AppError('version_not_found', `app ${app} has no earlier version that has answered; name one`);
      if (number === live && pending === null) return { version: number, from: number };
      const to = record.versions.get(number) ?? (await this.#deps.store.version(app, number));
      if (!to) throw new AppError('version_not_found', `app ${app} has no version ${number}`);
      const declaration = planRollback(record, to, { records: this.#records(), actor, now: new Date().toISOString() });
      await this.#commit(declaration);
      this.#take({ ...declaration, updated: declaration.updated.map((update) => ({ ...update, added: to })) });
      return { version: number, from: pending ?? live };
    });
    await this.#told([app]);
    return result;
  }

  delete(app: string, volumes: boolean, actor: string): Promise<string[]> {
    return this.#serially(async () => {
      const machine = this.machine(app);
      const message = volumes ? 'with its volumes' : 'volumes are kept';
      await this.#commit({
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
    this.#looks.close();
    await Promise.all([...this.#machines.values()].map((machine) => machine.close()));
    await Promise.allSettled([this.#turn, this.#reloading]);
    await this.#removals.idle();
  }

  #add(record: AppRecord): AppMachine {
    const { platform, hub, links, activity, outbox, defaults, keepAwake, metrics, clock, log } = this.#deps;
    const deps: MachineDeps = {
      platform,
      outbox,
      defaults,
      keepAwake,
      metrics,
      clock,
      log,
      publish: (route) => hub.publish(route),
      settled: (revision, countUnknown, signal) => hub.settled(revision, { countUnknown, signal }),
      isSettled: (revision) => hub.knows(revision),
      release: (app, targets, waitMs, signal) => links.release({ app, targets, waitMs, routers: hub.known }, signal),
      isIdle: (app, unreported) => activity.idle(app, unreported),
      onChange: (app) => this.#looks.changed(app),
    };
    const machine = new AppMachine(deps, record);
    this.#machines.set(record.name, machine);
    return machine;
  }

  /** Nothing that was learnt before may be written after the declaration, so it is written first. */
  async #commit(declaration: Declaration): Promise<void> {
    const { outbox, store, epoch, log } = this.#deps;
    try {
      await outbox.flushed(AbortSignal.timeout(commitPrepareMs));
    } catch (error) {
      throw new AppError('store_unavailable', 'Postgres cannot be reached: earlier records still wait to be written', {
        cause: error,
      });
    }
    try {
      await store.declare(epoch, declaration);
    } catch (error) {
      const failure = toAppError(error);
      log.warn({ err: failure }, 'a declaration was not written');
      if (failure.code === 'fenced') this.#deps.onFenced(failure);
      // The connection may have broken after the commit: what was declared is then in Postgres and not here.
      if (failure.code === 'store_unavailable' && !this.#unsure) {
        this.#unsure = true;
        this.#reloading = this.#reloadLater();
      }
      throw error;
    }
  }

  /** The machines take what was committed, and push it. */
  #take(declaration: Declaration): void {
    for (const record of declaration.created) this.#add(record).publish();
    for (const { app, added } of declaration.updated) this.machine(app.name).declared({ ...app, added });
  }

  /** Ends when routers know what these apps are now: surely, where that is promised; else as far as is quickly known. */
  async #told(apps: readonly string[]): Promise<Settlement> {
    const { revision } = this.#deps.hub;
    const strict = apps.some((app) => {
      const machine = this.#machines.get(app);
      return machine?.record.pending === null && machine.config.kubernetes.strict_version_check;
    });
    if (strict) return await this.#settled(revision, true, this.#closing.signal);
    const courtesy = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(courtesyMs)]);
    return await this.#settled(revision, false, courtesy).catch(() => ({ acknowledged: 0, expired: 0 }));
  }

  /** The app is deleted. Routers that are connected know before its pods go; one that is not holds until it knows. */
  async #forget(machine: AppMachine): Promise<void> {
    const { name } = machine.record;
    this.#machines.delete(name);
    this.#deps.activity.drop(name);
    const closed = machine.close();
    const revision = this.#deps.hub.remove(name); // at once: a call that is held finds no app, not a failed start
    await closed;
    await this.#settled(revision, false, this.#closing.signal);
  }

  #settled(revision: number, countUnknown: boolean, signal: AbortSignal): Promise<Settlement> {
    return this.#deps.hub.settled(revision, { countUnknown, signal });
  }

  #declaredSpec(app: string): AppSpec {
    const { live, pending, versions } = this.machine(app).record;
    const version = versions.get(pending ?? live);
    if (!version) throw new AppError('internal', `no version of ${app} is loaded`);
    return version.spec;
  }

  #retryFailed(app: string): void {
    const machine = this.machine(app);
    if (machine.view().state !== 'failed') return;
    machine.retry();
    machine.publish();
  }

  /** A registry that is away, or has no such image, is told by the version that fails, not here. */
  async #pin(specs: readonly AppSpec[]): Promise<Map<string, Pin>> {
    const late = new AbortController();
    const takeBack = this.#deps.clock.after(pinTimeoutMs, () => {
      const message = `its source was not looked up within ${pinTimeoutMs / 1_000} s: the server does not answer`;
      late.abort(new AppError('source_unavailable', message, { phase: 'source' }));
    });
    const signal = AbortSignal.any([this.#closing.signal, late.signal]);
    const pins = await Promise.all(
      specs.map(async (spec): Promise<[string, Pin]> => {
        try {
          return [spec.name, await this.#deps.platform.pin(spec, signal)];
        } catch (error) {
          const { code, message } = toAppError(late.signal.aborted ? late.signal.reason : error);
          if (spec.image !== undefined && code !== 'source_unsupported') return [spec.name, noPin];
          throw new AppError(code, `app ${spec.name}: ${message}`, { cause: error, data: { app: spec.name } });
        }
      }),
    ).finally(takeBack);
    return new Map(pins);
  }

  /** After a commit of unknown outcome, and before anything else is declared: takes what Postgres has. */
  async #reload(): Promise<void> {
    const records = await this.#deps.store.load();
    const names = new Set(records.map(({ name }) => name));
    for (const machine of this.machines()) {
      const { name } = machine.record;
      if (names.has(name)) continue;
      await this.#forget(machine);
      // Its end is waited for by `close`, its failure tried again: nobody waits here.
      this.#removals.remove(name, false).catch(() => undefined);
    }
    for (const record of records) {
      const known = this.#machines.get(record.name);
      if (!known) {
        await this.#removals.cut(record.name);
        this.#add(record).publish();
      } else if (known.record.generation < record.generation)
        known.declared({ ...record, added: record.versions.get(record.pending ?? record.live) });
    }
    this.#unsure = false;
  }

  async #reloadLater(): Promise<void> {
    while (this.#unsure && !this.#closing.signal.aborted) {
      await sleep(this.#deps.clock, reloadMs, this.#closing.signal);
      if (this.#closing.signal.aborted) return;
      await this.#serially(async () => undefined).catch((error: unknown) => {
        this.#deps.log.warn({ err: toAppError(error) }, 'apps could not be read again; tried again');
      });
    }
  }

  #records(): Map<string, AppRecord> {
    return new Map([...this.#machines].map(([name, machine]) => [name, machine.record]));
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= maxDeclarationsWaiting) {
      return Promise.reject(new AppError('too_many_calls', 'too many declarations wait for their turn'));
    }
    this.#waiting += 1;
    const result = this.#turn.then(async () => {
      this.#closing.signal.throwIfAborted();
      if (this.#unsure) await this.#reload();
      return await work();
    });
    this.#turn = result
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= 1;
      });
    return result;
  }
}
