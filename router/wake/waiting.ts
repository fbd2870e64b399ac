/**
 * Waiting pages, for apps with `waiting_page = true`: a browser that opens an app that is not ready gets a page that shows the
 * progress, and reloads itself when the app is ready. The page asks below a reserved path of the app (`/.holdfast/`).
 */
import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import { reservedSegment } from '../../shared/protocol/app-spec.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import type { App } from '../table/apps.ts';
import type { Call } from '../call/call.ts';
import type { Ensures } from '../hold/ensure.ts';
import type { LocalAnswers } from '../call/local-answer.ts';
import { isNavigation } from '../call/navigation.ts';
import { failedState, waitingState, type PageState, type ShownFailure } from './page-state.ts';
import { reservedUrl, waitingPage } from './page.ts';
import { WaitingStreams } from './waiting-streams.ts';

export interface WaitingDeps {
  readonly local: LocalAnswers;
  readonly clock: Clock;
  readonly maxStreams: number;
  readonly agent: { readonly up: boolean };
  readonly ensures: Pick<Ensures, 'want'>;
  readonly metrics: { waitingPage(): void };
}

const reserved = `/${reservedSegment}/`;
const streamPath = `${reserved}waiting`;

export class Waiting {
  readonly #deps: WaitingDeps;
  readonly #streams: WaitingStreams;
  readonly #progress = new WeakMap<App, EnsureProgress>();
  /** Failures that are not part of a route; each is valid while the app has the same route object. */
  readonly #failures = new WeakMap<App, { readonly route: Route; readonly failure: ShownFailure }>();

  constructor(deps: WaitingDeps) {
    this.#deps = deps;
    this.#streams = new WaitingStreams({ ...deps, stateOf: (app) => this.#stateOf(app) });
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Answers a call of an app that is not ready with the page, if a browser made it. @returns whether it did. */
  answers(call: Call, app: App, failure?: ShownFailure): boolean {
    const { local, metrics } = this.#deps;
    const { serving } = app.route;
    if (app.route.waitingPage !== true) return false;
    // The app is being scaled to zero, and the call stops that, which takes a moment only.
    if (serving.state === 'hold' && serving.reason === 'draining') return false;
    if (!isNavigation(call.head)) return false;
    if (failure === undefined && serving.state === 'hold') {
      this.#failures.delete(app); // The call tries again.
      this.#want(app, call);
    }
    const state = failure === undefined ? this.#stateOf(app) : failedState(failure);
    if (state.state === 'go') return false;
    metrics.waitingPage();
    local.send(call, waitingPage(state, reservedUrl(app.route.path, call.head.path, streamPath)));
    return true;
  }

  /** Answers a call below the reserved path. @returns whether it was one. */
  takes(call: Call, app: App): boolean {
    const { head } = call;
    const start = app.route.path === '/' ? 0 : app.route.path.length;
    if (!head.path.startsWith(reserved, start)) return false;
    const [path] = head.path.slice(start).split('?', 1);
    if (path !== streamPath) {
      call.refuse(new AppError('route_not_found', 'No such path: everything below /.holdfast/ is reserved.'));
    } else if (head.method !== 'GET' && head.method !== 'HEAD') {
      const fields = { Allow: 'GET, HEAD' };
      this.#deps.local.send(call, { status: 405, fields, body: Buffer.alloc(0) });
    } else this.#answerPage(call, app);
    return true;
  }

  progressed(app: App, progress: EnsureProgress): void {
    if (app.route.waitingPage !== true) return;
    this.#progress.set(app, progress);
    this.#streams.changed(app);
  }

  /** The route was pushed or removed. */
  changed(app: App): void {
    if (app.route.waitingPage !== true && !this.#streams.watches(app)) return;
    if (app.route.serving.state !== 'hold') this.#progress.delete(app);
    this.#streams.changed(app);
    this.recheck(app);
  }

  /** The agent may be asked again. */
  recheck(app: App): void {
    const call = this.#streams.firstCall(app);
    if (call !== undefined && this.#stateOf(app).state === 'waits') this.#want(app, call);
  }

  /** The link is up. */
  changedAll(): void {
    for (const app of this.#streams.apps()) {
      this.#streams.changed(app);
      this.recheck(app);
    }
  }

  /** The version cannot run, and no push has said so. */
  failed(app: App, error: AppError): void {
    if (app.route.waitingPage === true) this.#fails(app, { code: error.code, owner: error.owner, status: 502 });
  }

  /** The app may not be woken for now. */
  refused(app: App, failure: ShownFailure): void {
    if (app.route.waitingPage === true) this.#fails(app, failure);
  }

  /** Ends all streams; pages look for another router. */
  close(): void {
    this.#streams.close();
  }

  /** Asks for the live version, as a held call does. */
  #want(app: App, { head }: Call): void {
    this.#deps.ensures.want(app.name, app.route.version, [], head);
  }

  #fails(app: App, failure: ShownFailure): void {
    this.#failures.set(app, { route: app.route, failure });
    this.#streams.changed(app);
  }

  #answerPage(call: Call, app: App): void {
    const { local } = this.#deps;
    if (call.draining) {
      call.refuse(new AppError('router_draining', 'This router is shutting down.', { retryAfterMs: 1_000 }));
      return;
    }
    const state = this.#stateOf(app);
    if (state.state === 'waits') this.#want(app, call);
    const streams = call.head.field('accept')?.includes('text/event-stream') === true;
    if (!streams || call.head.method === 'HEAD') {
      const fields = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
      local.send(call, { status: 200, fields, body: Buffer.from(JSON.stringify(state)) });
    } else if (this.#streams.full) {
      call.refuse(
        new AppError('router_overloaded', 'Too many waiting pages are open in this router; try again.', {
          retryAfterMs: 5_000,
        }),
      );
    } else this.#streams.open(call, app);
  }

  #stateOf(app: App): PageState {
    if (!app.routed) return { state: 'go' };
    const failed = this.#failures.get(app);
    if (failed?.route === app.route) return failedState(failed.failure);
    const progress = this.#progress.get(app);
    return waitingState(app.route, progress?.version === app.route.version ? progress : undefined, this.#deps.agent.up);
  }
}
