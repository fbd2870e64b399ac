/**
 * The open streams of waiting pages (Server-Sent Events, https://html.spec.whatwg.org/#server-sent-events): each is told the
 * state of its app when it changes, and every so often all the same, so that a page sees that its connection is alive. They
 * are no held calls and keep no app awake.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import type { ActiveAttempt, Call } from '../call/call.ts';
import type { LocalAnswers } from '../call/local-answer.ts';
import type { PageState } from './page-state.ts';

export interface StreamsDeps {
  readonly local: LocalAnswers;
  readonly clock: Clock;
  readonly maxStreams: number;
  readonly stateOf: (app: App) => PageState;
}

const beatMs = 15_000;
/** A page opens another one then; of a client that is gone unnoticed nothing stays. */
const maxAgeMs = 600_000;
/** A client that takes less than comes gets the next state when it has taken these. */
const maxWaitingBytes = 16_384;

const fields = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  // nginx would keep it back.
  'X-Accel-Buffering': 'no',
  'X-Content-Type-Options': 'nosniff',
};

interface Stream extends ActiveAttempt {
  readonly call: Call;
  readonly openedMs: number;
  /** What it was told last. */
  told: string;
}

export class WaitingStreams {
  readonly #deps: StreamsDeps;
  readonly #byApp = new Map<App, Set<Stream>>();
  #size = 0;
  #cancelBeat: (() => void) | undefined;

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size >= this.#deps.maxStreams;
  }

  watches(app: App): boolean {
    return this.#byApp.has(app);
  }

  /** The oldest of the app. */
  firstCall(app: App): Call | undefined {
    for (const { call } of this.#byApp.get(app) ?? []) return call;
    return undefined;
  }

  apps(): App[] {
    return [...this.#byApp.keys()];
  }

  open(call: Call, app: App): void {
    const { local, clock } = this.#deps;
    const stream: Stream = { call, openedMs: clock.nowMs(), told: '', abort: () => this.#forget(app, stream) };
    let streams = this.#byApp.get(app);
    if (streams === undefined) this.#byApp.set(app, (streams = new Set()));
    streams.add(stream);
    this.#size += 1;
    call.attempt = stream;
    local.begin(call, 200, fields);
    this.#cancelBeat ??= clock.after(beatMs, () => this.#beat());
    this.#tell(app, stream, this.#deps.stateOf(app), false);
  }

  changed(app: App): void {
    const streams = this.#byApp.get(app);
    if (streams === undefined) return;
    const state = this.#deps.stateOf(app);
    for (const stream of streams) this.#tell(app, stream, state, false);
  }

  /** Every stream ends; its page looks elsewhere. */
  close(): void {
    this.#cancelBeat?.();
    this.#cancelBeat = undefined;
    for (const [app, streams] of this.#byApp) {
      for (const stream of streams) this.#end(app, stream);
    }
  }

  #tell(app: App, stream: Stream, state: PageState, beat: boolean): void {
    const { answer } = stream.call.clientSide;
    const text = JSON.stringify(state);
    if ((text === stream.told && !beat) || answer.waitingBytes > maxWaitingBytes) return;
    stream.told = text;
    const event = Buffer.from(`data: ${text}\n\n`);
    answer.part(event, 0, event.length, false);
    // Nothing comes after these, and the page goes its way.
    if (state.state === 'waits') answer.flush();
    else this.#end(app, stream);
  }

  #end(app: App, stream: Stream): void {
    this.#forget(app, stream);
    const { call } = stream;
    call.attempt = undefined;
    call.clientSide.answer.end(undefined);
    call.clientSide.answer.flush();
    call.clientSide.answered();
  }

  #forget(app: App, stream: Stream): void {
    const streams = this.#byApp.get(app);
    if (streams?.delete(stream) !== true) return;
    this.#size -= 1;
    if (streams.size === 0) this.#byApp.delete(app);
    if (this.#size > 0) return;
    this.#cancelBeat?.();
    this.#cancelBeat = undefined;
  }

  #beat(): void {
    this.#cancelBeat = this.#deps.clock.after(beatMs, () => this.#beat());
    const nowMs = this.#deps.clock.nowMs();
    for (const [app, streams] of this.#byApp) {
      const state = this.#deps.stateOf(app);
      for (const stream of streams) {
        if (nowMs - stream.openedMs >= maxAgeMs) this.#end(app, stream);
        else this.#tell(app, stream, state, true);
      }
    }
  }
}
