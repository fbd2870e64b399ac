/**
 * The gate before the hold. It answers calls of an app that is not ready at once if a wake rule says so, if the app has used up its
 * wake budget, or with a waiting page. It also decides which calls of a ready app do not keep the app awake.
 */
import type { ErrorOwner } from '../../shared/error-codes.ts';
import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import type { App } from '../table/apps.ts';
import type { Call } from '../call/call.ts';
import type { LocalAnswers } from '../call/local-answer.ts';
import type { Waiting } from './waiting.ts';
import { WakeRules, type RuleAnswer } from './wake-rules.ts';

export interface WakeGateDeps {
  readonly local: Pick<LocalAnswers, 'send'>;
  readonly waiting: Pick<Waiting, 'answers' | 'takes' | 'refused'>;
  readonly clock: Clock;
  readonly metrics: { wakeAnswered(app: string, rule: string): void; wakeRefused(): void };
}

/** For this long after a call that keeps the app awake, all calls count as such without a look at the rules. */
export const provenMs = 1_000;

export class WakeGate {
  readonly #deps: WakeGateDeps;
  readonly #rules = new WakeRules();
  /** Apps that the agent refuses to wake. An entry is valid while the app has the same route object. */
  readonly #refusals = new WeakMap<App, { readonly route: Route; readonly untilMs: number }>();

  constructor(deps: WakeGateDeps) {
    this.#deps = deps;
  }

  /** Answers a call that would be held, if it should not be. @returns whether it did. */
  answers(call: Call, app: App): boolean {
    const { waiting, metrics } = this.#deps;
    if (app.route.serving.state !== 'hold') return false;
    if (this.#answersByRule(call, app)) return true;
    const error = this.#refusalOf(app);
    if (error === undefined) return waiting.answers(call, app);
    metrics.wakeRefused();
    if (!waiting.answers(call, app, shown(error))) call.refuse(error);
    return true;
  }

  /** Answers a call of an app whose version failed with a waiting page, if a browser made it. @returns whether it did. */
  answersFailed(call: Call, app: App, failure: { readonly code: string; readonly owner: ErrorOwner }): boolean {
    return this.#deps.waiting.answers(call, app, { ...failure, status: 502 });
  }

  /** Answers a call below the path reserved for waiting pages. @returns whether it was one. */
  takes(call: Call, app: App): boolean {
    if (app.route.serving.state === 'hold' && this.#answersByRule(call, app)) return true;
    return this.#deps.waiting.takes(call, app);
  }

  /** Checks whether a call of a ready app keeps the app awake, once within `provenMs`. */
  prove(call: Call, app: App): void {
    if (this.#ruleOf(call, app) === undefined) {
      app.provenAtMs = call.arrivedMs;
    } else setPassive(call, app);
  }

  /** Whether the call may start a pending version. */
  mayStart(call: Call, app: App): boolean {
    return this.#ruleOf(call, app) === undefined;
  }

  /** The agent refuses to wake the app. @returns the error for its held calls; undefined if the route has changed since. */
  refused(app: App, version: number, error: AppError): AppError | undefined {
    const { clock, waiting } = this.#deps;
    if (app.route.version !== version || app.route.serving.state !== 'hold') return undefined;
    this.#refusals.set(app, { route: app.route, untilMs: clock.nowMs() + (error.retryAfterMs ?? 0) });
    const refusal = budgetError(error.retryAfterMs ?? 0);
    waiting.refused(app, shown(refusal));
    return refusal;
  }

  #answersByRule(call: Call, app: App): boolean {
    const found = this.#ruleOf(call, app);
    if (found === undefined) return false;
    setPassive(call, app);
    const { status, contentType, body } = found.answer;
    this.#deps.metrics.wakeAnswered(app.name, found.rule);
    this.#deps.local.send(call, {
      status,
      fields: { ...(body.length > 0 && { 'Content-Type': contentType }), 'Cache-Control': 'no-store' },
      body,
    });
    return true;
  }

  #ruleOf({ head }: Call, app: App): RuleAnswer | undefined {
    const userAgent = head.field('user-agent') ?? '';
    return this.#rules.answerFor(app.route, { method: head.method, path: head.path, userAgent });
  }

  #refusalOf(app: App): AppError | undefined {
    const refusal = this.#refusals.get(app);
    if (refusal === undefined) return undefined;
    const leftMs = refusal.untilMs - this.#deps.clock.nowMs();
    if (refusal.route === app.route && leftMs > 0) return budgetError(leftMs);
    this.#refusals.delete(app);
    return undefined;
  }
}

/** The call does not keep its app awake. */
export function setPassive(call: Call, app: App): void {
  // A call that came back may have been reported already.
  if (!call.passive && app.calls > 0) app.calls -= 1;
  call.passive = true;
}

function budgetError(retryAfterMs: number): AppError {
  const message = 'The app is asleep and has used up its wake budget for this hour.';
  return new AppError('wake_budget_exhausted', message, { retryAfterMs });
}

function shown(error: AppError): { code: string; owner: ErrorOwner; status: number; retryAfterSecs: number } {
  const { code, owner, status, retryAfterMs = 0 } = error;
  return { code, owner, status, retryAfterSecs: Math.max(1, Math.ceil(retryAfterMs / 1_000)) };
}
