/** Counts the calls and the upgraded connections that each app has at its targets. */
import type { Clock } from '../../shared/wait/clock.ts';
import type { Call, CallApp } from '../call/call.ts';
import type { App } from './apps.ts';

export interface InFlightDeps {
  readonly clock: Clock;
  /** Has calls that wait for room in an app with a limit in all. */
  readonly hold: { changed(app: CallApp): void };
}

export class InFlight {
  readonly #deps: InFlightDeps;

  constructor(deps: InFlightDeps) {
    this.#deps = deps;
  }

  enter(call: Call, app: CallApp): void {
    app.inFlight += 1;
    if (call.passive) app.passive += 1;
    call.countedIn = app;
  }

  /** The call has left its target, if it was at one. */
  leave(call: Call): void {
    const app = call.countedIn;
    if (app === undefined) return;
    call.countedIn = undefined;
    app.inFlight -= 1;
    if (call.passive) app.passive -= 1;
    else app.lastActiveMs = this.#deps.clock.nowMs();
    this.#freed(app);
  }

  upgraded(call: Call, app: App): void {
    app.upgraded += 1;
    this.leave(call);
  }

  /** @param bytes of the tunnel, both ways. */
  tunnelClosed(app: App, bytes: number): void {
    app.upgraded -= 1;
    app.bytes += bytes;
    app.lastActiveMs = this.#deps.clock.nowMs();
    this.#freed(app);
  }

  #freed(app: CallApp): void {
    if (app.maxTotal !== Infinity) this.#deps.hold.changed(app);
  }
}
