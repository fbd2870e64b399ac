/**
 * Decides which calls may not wake their app (`wake.rules`), and what they get instead. The first rule that matches decides. Rules
 * apply whenever an app is not ready, whatever the reason, so that a probe always gets the same answer, and to a ready app that
 * has not been called for a while (wake-gate.ts).
 */
import { defaultWakeRules, type WakeRule } from '../../shared/protocol/app-config.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import { glob, type Glob } from './glob.ts';

export interface StaticAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

export interface RuleAnswer {
  /** Number of the rule, from 1, or `default`. */
  readonly rule: string;
  readonly answer: StaticAnswer;
}

export interface Seen {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly userAgent: string;
}

interface CompiledRule {
  readonly methods: ReadonlySet<string> | undefined;
  readonly path: Glob | undefined;
  readonly userAgent: Glob | undefined;
  /** Undefined if the rule allows the call to wake the app. */
  readonly result: RuleAnswer | undefined;
}

export class WakeRules {
  /** Compiled rules by the array of the route, which is a new object after each push. */
  readonly #compiled = new WeakMap<readonly WakeRule[], readonly CompiledRule[]>();

  /** @returns the answer for a call that may not wake the app; undefined if it may. */
  answerFor(route: Pick<Route, 'wakeRules'>, seen: Seen): RuleAnswer | undefined {
    const rules = this.#rulesOf(route.wakeRules ?? defaultWakeRules);
    if (rules.length === 0) return undefined;
    const query = seen.path.indexOf('?');
    const path = query < 0 ? seen.path : seen.path.slice(0, query);
    const userAgent = seen.userAgent.toLowerCase();
    for (const rule of rules) {
      if (rule.methods !== undefined && !rule.methods.has(seen.method)) continue;
      if (rule.path !== undefined && !rule.path(path)) continue;
      if (rule.userAgent !== undefined && !rule.userAgent(userAgent)) continue;
      return rule.result;
    }
    return undefined;
  }

  #rulesOf(rules: readonly WakeRule[]): readonly CompiledRule[] {
    let compiled = this.#compiled.get(rules);
    if (compiled === undefined) {
      const isDefault = rules === defaultWakeRules;
      compiled = rules.map((rule, index) => compile(rule, isDefault ? 'default' : String(index + 1)));
      this.#compiled.set(rules, compiled);
    }
    return compiled;
  }
}

function compile({ methods, path, user_agent, answer }: WakeRule, rule: string): CompiledRule {
  return {
    methods: methods && new Set(methods),
    path: path === undefined ? undefined : glob(path),
    userAgent: user_agent === undefined ? undefined : glob(user_agent.toLowerCase()),
    result: answer && {
      rule,
      answer: { status: answer.status, contentType: answer.content_type, body: Buffer.from(answer.body) },
    },
  };
}
