/** The log and the record of one build. The record is saved when its state changes, and now and then with the newest lines. */
import type { BuildView } from '../../shared/protocol/views.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { BuildRecord } from '../store/build-store.ts';
import { BuildLog } from './build-log.ts';
import type { BuildRecords } from './build-records.ts';

export type EndState = Extract<BuildView['state'], 'succeeded' | 'failed' | 'cancelled'>;

export interface BuildJournalDeps {
  readonly records: Pick<BuildRecords, 'save'>;
  readonly clock: Clock;
}

const keptLines = 200;
/** How often the record of a running build is saved with its newest lines. */
const saveEveryMs = 10_000;

export class BuildJournal {
  readonly log = new BuildLog();
  readonly #deps: BuildJournalDeps;
  #record: BuildRecord | undefined;

  constructor(deps: BuildJournalDeps) {
    this.#deps = deps;
  }

  /** The current record, with the last lines; undefined until it is known that the image has to be built. */
  get record(): BuildRecord | undefined {
    return this.#record && { ...this.#record, logs: this.log.last(keptLines) };
  }

  /** The build waits for its turn: for the first time, or again after a failure that may pass. */
  queued(
    first: Omit<BuildRecord, 'state' | 'imageDigest' | 'failure' | 'logs' | 'queuedAt' | 'startedAt' | 'endedAt'>,
  ): void {
    this.#record = this.#record
      ? { ...this.#record, state: 'queued' }
      : {
          ...first,
          state: 'queued',
          imageDigest: null,
          failure: null,
          logs: [],
          queuedAt: now(),
          startedAt: null,
          endedAt: null,
        };
    this.#save();
  }

  /** Goes on with the record of a build that the previous leader began. */
  resumed(known: BuildRecord): void {
    this.#record = known;
    this.#save();
  }

  /** The build has its turn. */
  running(): void {
    this.#change({ state: 'running', startedAt: this.#record?.startedAt ?? now() });
  }

  ended(state: EndState, outcome: Pick<Partial<BuildRecord>, 'imageDigest' | 'failure'>): void {
    this.#change({ ...outcome, state, endedAt: now() });
  }

  /** Saves new lines now and then, until it is disposed or the signal aborts. */
  saveNowAndThen(signal: AbortSignal): Disposable {
    const { clock } = this.#deps;
    let position = 0;
    const again = (): (() => void) =>
      clock.after(saveEveryMs, () => {
        if (position !== this.log.position && !signal.aborted) this.#save();
        position = this.log.position;
        stop = again();
      });
    let stop = again();
    return { [Symbol.dispose]: () => stop() };
  }

  #change(change: Partial<BuildRecord>): void {
    if (!this.#record) return;
    this.#record = { ...this.#record, ...change };
    this.#save();
  }

  #save(): void {
    const { record } = this;
    if (record) this.#deps.records.save(record);
  }
}

function now(): string {
  return new Date().toISOString();
}
