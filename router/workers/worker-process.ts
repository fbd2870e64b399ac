/** One worker, as the primary sees it: asked and drained by messages, and watched for silence. */
import type { Worker } from 'node:cluster';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Answers, FromWorker, Subject, ToWorker } from './messages.ts';

export interface WorkerProcessDeps {
  readonly worker: Worker;
  readonly clock: Clock;
  readonly onListening: (ports: { readonly port: number; readonly tlsPort: number | undefined }) => void;
  readonly onExit: (how: string) => void;
  /** The worker has not answered for `silenceMs` and is killed. */
  readonly onSilent: () => void;
}

/** As long as the probes of Kubernetes tolerate a process that does not respond. */
const silenceMs = 30_000;
const lookEveryMs = 5_000;

export class WorkerProcess {
  readonly #deps: WorkerProcessDeps;
  readonly #asked = new Map<number, (value: unknown) => void>();
  #nextId = 1;
  #heardMs: number;
  #cancelLook: (() => void) | undefined;
  #isListening = false;
  #exited = false;
  readonly #exit = Promise.withResolvers<void>();
  /** The last answer to `metrics`. */
  lastMetrics: readonly unknown[] = [];

  constructor(deps: WorkerProcessDeps) {
    this.#deps = deps;
    this.#heardMs = deps.clock.nowMs();
    const { worker } = deps;
    worker.on('message', (message: FromWorker) => this.#hear(message));
    worker.on('exit', (code: number | null, signal: string | null) => {
      this.#exited = true;
      this.#cancelLook?.();
      for (const answer of this.#asked.values()) answer(undefined);
      this.#asked.clear();
      deps.onExit(signal ?? `code ${code}`);
      this.#exit.resolve();
    });
    // A message to a worker that is ending fails; 'exit' follows.
    worker.on('error', () => undefined);
  }

  get exited(): Promise<void> {
    return this.#exit.promise;
  }

  get pid(): number {
    return this.#deps.worker.process.pid ?? 0;
  }

  get listening(): boolean {
    return this.#isListening && !this.#exited;
  }

  /** @returns undefined if no answer comes in time. */
  ask<S extends Subject>(subject: S, withinMs: number, query = ''): Promise<Answers[S] | undefined> {
    if (this.#exited) return Promise.resolve(undefined);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const answer = (value: unknown): void => {
        cancel();
        this.#asked.delete(id);
        resolve(value as Answers[S] | undefined);
      };
      const cancel = this.#deps.clock.after(withinMs, () => answer(undefined));
      this.#asked.set(id, answer);
      this.#send({ kind: 'ask', id, subject, query });
    });
  }

  drain(): void {
    this.#send({ kind: 'drain' });
  }

  kill(): void {
    this.#deps.worker.process.kill('SIGKILL');
  }

  #send(message: ToWorker): void {
    const { worker } = this.#deps;
    if (worker.isConnected()) worker.send(message, () => undefined);
  }

  #hear(message: FromWorker): void {
    this.#heardMs = this.#deps.clock.nowMs();
    switch (message.kind) {
      case 'listening':
        this.#isListening = true;
        this.#look();
        this.#deps.onListening(message);
        return;
      case 'answer':
        this.#asked.get(message.id)?.(message.value);
    }
  }

  /** Asks the worker for its readiness, as a probe does with a single process. */
  #look(): void {
    if (this.#exited) return;
    if (this.#deps.clock.nowMs() - this.#heardMs >= silenceMs) {
      this.#deps.onSilent();
      this.kill();
      return;
    }
    this.#cancelLook = this.#deps.clock.after(lookEveryMs, () => {
      void this.ask('ready', lookEveryMs);
      this.#look();
    });
  }
}
