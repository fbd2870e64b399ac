/**
 * A start that is under way, shared by everyone who waits for it. Callers come and go: one that leaves frees its own
 * wait and never ends the start, which belongs to the machine of the app.
 */
import { AppError } from '../../../shared/errors.ts';
import type { EnsureProgress } from '../../../shared/protocol/methods.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { OnPhase } from '../../platform/platform.ts';

export type ProgressListener = (progress: EnsureProgress) => void;

export class StartJob {
  readonly version: number;
  readonly #app: string;
  readonly #abort = new AbortController();
  readonly #listeners = new Set<ProgressListener>();
  #last: EnsureProgress | undefined;
  readonly result: Promise<StartTimings>;

  constructor(app: string, version: number, work: (job: StartJob) => Promise<StartTimings>) {
    this.#app = app;
    this.version = version;
    // Begun in the next microtask, so that the owner can store the job first.
    this.result = Promise.resolve().then(() => work(this));
    // Nobody may be waiting when it fails: the machine has recorded the failure.
    this.result.catch(() => undefined);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  abort(error: AppError): void {
    this.#abort.abort(error);
  }

  progress(...[phase, message, queue]: Parameters<OnPhase>): void {
    this.#last = { app: this.#app, version: this.version, phase, message, ...(queue && { queue }) };
    for (const listener of this.#listeners) listener(this.#last);
  }

  /** Waits for the result, told of progress from where it is now. */
  async join(listener: ProgressListener, signal: AbortSignal): Promise<StartTimings> {
    if (signal.aborted) throw cancelled(signal);
    if (this.#last) listener(this.#last);
    this.#listeners.add(listener);
    let leave: (() => void) | undefined;
    try {
      return await new Promise<StartTimings>((resolve, reject) => {
        leave = () => reject(cancelled(signal));
        signal.addEventListener('abort', leave, { once: true });
        this.result.then(resolve, reject);
      });
    } finally {
      this.#listeners.delete(listener);
      if (leave) signal.removeEventListener('abort', leave);
    }
  }
}

function cancelled(signal: AbortSignal): AppError {
  return new AppError('cancelled', 'the caller no longer waits', { cause: signal.reason });
}
