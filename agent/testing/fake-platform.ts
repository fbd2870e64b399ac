/** A platform that a test scripts: every step succeeds at once unless it is held or made to fail. */
import { AppError } from '../../shared/errors.ts';
import type { Target } from '../../shared/protocol/routes.ts';
import { onAbort } from '../../shared/wait/abort.ts';
import { noPin, type Platform, type VersionRun } from '../platform/platform.ts';

/** `start a v1`, `switch a v1`, `stop a v1`, `discard a v1`, `remove a`, `pin a`, `prepare a v1`. */
type Step = string;

interface HeldStep {
  /** Resolves when the step has been begun. */
  readonly reached: Promise<void>;
  /** Whether it was ended by its signal. */
  readonly cut: boolean;
  open(): void;
  fail(error: AppError): void;
}

export interface FakePlatform extends Platform {
  /** Every step that was begun, in order. */
  readonly steps: readonly Step[];
  /** The suspects of each start, in order. */
  readonly suspects: readonly (readonly string[])[];
  readonly adopted: readonly VersionRun[];
  /** The step waits the next time it is made. A deaf one does not end by its signal. */
  hold(step: Step, options?: { readonly deaf?: boolean }): HeldStep;
  /** The step fails each time, until `mend`. */
  fail(step: Step, error: AppError): void;
  mend(step: Step): void;
  /** A target begins to answer without a start by the agent. */
  answers(app: string, version: number): Target;
  /** The targets of the version disappear without a stop by the agent. */
  dies(app: string, version: number): void;
}

export function createFakePlatform(): FakePlatform {
  const steps: Step[] = [];
  const suspects: (readonly string[])[] = [];
  const adopted: VersionRun[] = [];
  const failures = new Map<Step, AppError>();
  const held = new Map<Step, (signal: AbortSignal) => Promise<void>>();
  const targets = new Map<string, Target[]>();
  const listeners = new Set<(app: string, version: number) => void>();
  let births = 0;

  async function make(step: Step, signal: AbortSignal): Promise<void> {
    steps.push(step);
    const wait = held.get(step);
    held.delete(step);
    if (wait) await wait(signal);
    else if (signal.aborted) throw new AppError('cancelled', `${step} was cancelled`);
    const failure = failures.get(step);
    if (failure) throw failure;
  }

  function setTargets(app: string, version: number, now: Target[]): void {
    targets.set(`${app} v${version}`, now);
    for (const listener of listeners) listener(app, version);
  }

  function targetsOf(app: string, version: number): Target[] {
    return targets.get(`${app} v${version}`) ?? [];
  }

  const platform: FakePlatform = {
    name: 'process',
    steps,
    suspects,
    adopted,
    hold(step, { deaf = false } = {}) {
      const began = Promise.withResolvers<void>();
      const gate = Promise.withResolvers<void>();
      gate.promise.catch(() => undefined);
      let isCut = false;
      held.set(step, async (signal) => {
        began.resolve();
        const cut = (): void => {
          isCut = true;
          gate.reject(new AppError('cancelled', `${step} was cancelled`));
        };
        using _listener = deaf ? undefined : onAbort(signal, cut);
        await gate.promise;
      });
      return {
        reached: began.promise,
        get cut() {
          return isCut;
        },
        open: gate.resolve,
        fail: gate.reject,
      };
    },
    fail: (step, error) => void failures.set(step, error),
    mend: (step) => void failures.delete(step),
    answers(app, version) {
      births += 1;
      const target = { id: `${app}-v${version}-${births}`, host: '127.0.0.1', port: births };
      setTargets(app, version, [...targetsOf(app, version), target]);
      return target;
    },
    dies: (app, version) => setTargets(app, version, []),

    async pin(spec, signal) {
      await make(`pin ${spec.name}`, signal);
      return noPin;
    },
    async prepare(run, { signal }) {
      await make(`prepare ${run.app} v${run.version}`, signal);
      return run.pin;
    },
    async start(run, options) {
      suspects.push(options.suspects ?? []);
      await make(`start ${run.app} v${run.version}`, options.signal);
      if (targetsOf(run.app, run.version).length === 0) platform.answers(run.app, run.version);
    },
    targets: targetsOf,
    mayRun: (app, version) => targetsOf(app, version).length > 0,
    onTargets(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    switchTo: (run, signal) => make(`switch ${run.app} v${run.version}`, signal),
    async stop(app, version, signal) {
      // As the real ones: the targets are gone as soon as it begins.
      if (!signal.aborted) setTargets(app, version, []);
      await make(`stop ${app} v${version}`, signal);
    },
    async discard(app, version, signal) {
      if (!signal.aborted) setTargets(app, version, []);
      await make(`discard ${app} v${version}`, signal);
    },
    async remove(app, { volumes, signal }) {
      await make(`remove ${app}${volumes ? ' with volumes' : ''}`, signal);
      return [`Fake/${app}`];
    },
    async adopt(runs) {
      adopted.push(...runs);
    },
    async *logs() {},
    async close() {},
  };
  return platform;
}
