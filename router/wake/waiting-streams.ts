/**
 * The open streams of waiting pages (Server-Sent Events, https://html.spec.whatwg.org/#server-sent-events). Each gets the state of
 * its app when that changes, and at intervals, so that the page sees that its connection is alive. Streams are not held calls and
 * do not keep an app awake.
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
/** Maximum age of a stream, after which its page opens a new one. It ends streams whose client has gone unnoticed. */
const maxAgeMs = 600_000;
/** Skip states for a client that is this far behind. */
const maxWaitingBytes = 16_384;

const fields = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  // Without this, nginx buffers the events.
  'X-Accel-Buffering': 'no',
  'X-Content-Type-Options': 'nosniff',
};

interface Stream extends ActiveAttempt {
  readonly call: Call;
  readonly openedMs: number;
  /** The state that was sent last, as JSON. */
  lastState: string;
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

  /** The call of the oldest stream of the app. */
  firstCall(app: App): Call | undefined {
    for (const { call } of this.#byApp.get(app) ?? []) return call;
    return undefined;
  }

  apps(): App[] {
    return [...this.#byApp.keys()];
  }

  open(call: Call, app: App): void {
    const { local, clock } = this.#deps;
    const stream: Stream = { call, openedMs: clock.nowMs(), lastState: '', abort: () => this.#forget(app, stream) };
    let streams = this.#byApp.get(app);
    if (streams === undefined) this.#byApp.set(app, (streams = new Set()));
    streams.add(stream);
    this.#size += 1;
    call.attempt = stream;
    local.begin(call, 200, fields);
    this.#cancelBeat ??= clock.after(beatMs, () => this.#beat());
    this.#send(app, stream, this.#deps.stateOf(app), false);
  }

  changed(app: App): void {
    const streams = this.#byApp.get(app);
    if (streams === undefined) return;
    const state = this.#deps.stateOf(app);
    for (const stream of streams) this.#send(app, stream, state, false);
  }

  /** Ends all streams; their pages reconnect, to another router if this one drains. */
  close(): void {
    this.#cancelBeat?.();
    this.#cancelBeat = undefined;
    for (const [app, streams] of this.#byApp) {
      for (const stream of streams) this.#end(app, stream);
    }
  }

  #send(app: App, stream: Stream, state: PageState, beat: boolean): void {
    const { answer } = stream.call.clientSide;
    const text = JSON.stringify(state);
    if ((text === stream.lastState && !beat) || answer.waitingBytes > maxWaitingBytes) return;
    stream.lastState = text;
    const event = Buffer.from(`data: ${text}\n\n`);
    answer.part(event, 0, event.length, false);
    // Other states are final.
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
        else this.#send(app, stream, state, true);
      }
    }
  }
}
