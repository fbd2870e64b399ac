/**
 * Finds out whether targets that were set aside answer again, so that no call has to. Each target is probed again and
 * again, with pauses that grow to two seconds: the last target of an app is never set aside for good.
 */
import { probeOnce } from '../../shared/net/http-probe.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { CallApp } from '../call/call.ts';
import type { UpstreamTarget } from './target.ts';

export interface ProbesDeps {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  /** The target takes connections again. */
  onBack(app: CallApp, target: UpstreamTarget): void;
}

const firstPauseMs = 50;
const longestPauseMs = 2_000;
/** How long a probe waits for an answer on a connection that was accepted. */
const answerTimeoutMs = 2_000;
/** Dials under way at once; further ones wait for their next turn. */
const maxDialling = 64;

interface Probe {
  readonly app: CallApp;
  pauseMs: number;
  cancel: () => void;
  waiting: boolean;
}

export class Probes {
  readonly #deps: ProbesDeps;
  readonly #probes = new Map<UpstreamTarget, Probe>();
  #dialling = 0;

  constructor(deps: ProbesDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#probes.size;
  }

  /** The target gets no call until it takes a connection. */
  setAside(app: CallApp, target: UpstreamTarget): void {
    target.setAside = true;
    if (this.#probes.has(target)) return;
    const probe: Probe = { app, pauseMs: firstPauseMs, cancel: () => undefined, waiting: false };
    this.#probes.set(target, probe);
    this.#rest(target, probe);
  }

  /** Dials now: the agent has looked at the target and keeps it, so it may be back. */
  hurry(target: UpstreamTarget): void {
    const probe = this.#probes.get(target);
    if (probe?.waiting !== true || probe.pauseMs > 8 * firstPauseMs) return;
    probe.cancel();
    this.#dial(target, probe);
  }

  close(): void {
    for (const probe of this.#probes.values()) probe.cancel();
    this.#probes.clear();
  }

  #rest(target: UpstreamTarget, probe: Probe): void {
    const { pauseMs } = probe;
    probe.pauseMs = Math.min(longestPauseMs, 2 * pauseMs);
    probe.waiting = true;
    probe.cancel = this.#deps.clock.after(pauseMs, () => this.#dial(target, probe));
  }

  #dial(target: UpstreamTarget, probe: Probe): void {
    probe.waiting = false;
    if (!target.listed) {
      this.#probes.delete(target);
      target.readmit(); // If the table lists it again, the next call finds out.
      return;
    }
    if (this.#dialling >= maxDialling) {
      this.#rest(target, probe);
      return;
    }
    this.#dialling += 1;
    const over = new AbortController();
    probe.cancel = () => over.abort();
    void this.#ask(probe.app, target, over.signal).then((isBack) => {
      this.#dialling -= 1;
      if (this.#probes.get(target) !== probe) return;
      if (target.listed && !isBack) {
        this.#rest(target, probe);
        return;
      }
      this.#probes.delete(target);
      target.readmit();
      if (target.listed) this.#deps.onBack(probe.app, target);
    });
  }

  /**
   * Whether the target answers, whatever it says: an open port alone may be that of a server whose workers are gone. One that keeps the
   * connection without an answer is back too: its `/` may be slow, and whether it is healthy is for the agent to judge.
   */
  async #ask({ route }: CallApp, { host, port }: UpstreamTarget, signal: AbortSignal): Promise<boolean> {
    const { connectTimeoutMs } = this.#deps;
    const authority = route.host === '' || route.host.startsWith('*') ? undefined : route.host;
    const { protocol } = route;
    const asked = { host, port, wants: 'answer', authority, protocol, connectTimeoutMs, answerTimeoutMs } as const;
    const { kind } = await probeOnce(asked, signal);
    return kind === 'ready' || (kind === 'silent' && !signal.aborted);
  }
}
