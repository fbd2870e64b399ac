/**
 * What routers report to be doing for each app: the basis for deciding that an app is idle. Reports come every two seconds, so they are a
 * little old; routers are asked once more before an app goes to zero (`targets.release`).
 */
import type { AppActivity } from '../../shared/protocol/methods.ts';

/** When an app counts as idle. */
export interface IdleRule {
  /** The app is idle when it was not used for this time. */
  readonly periodMs: number;
  /** Fewer bytes than this within the period do not count as use; with 0 every call counts. */
  readonly watermarkBytes: number;
}

/** What a router did for an app and has not reported yet. */
export interface Unreported {
  readonly bytes: number;
  /** Time since a call last began or ended at the router; Infinity if none did. */
  readonly idleMs: number;
}

interface ActivityDeps {
  readonly now: () => number;
  /** The rule of the app as it is declared now; undefined if there is no such app. */
  readonly ruleOf: (app: string) => IdleRule | undefined;
}

/** The use of one app at all routers together. */
interface Use {
  /** When a call last began or ended. */
  calledMs: number;
  /** When there last was an upgraded connection, or a call that was in flight for longer than one report. */
  longMs: number;
  /** A sliding window over the period in a bounded number of parts, oldest first. */
  readonly parts: { readonly beganMs: number; endedMs: number; bytes: number }[];
}

/** The window has this many parts. Bytes may count for as much longer as one part lasts. */
const windowParts = 16;

export class ActivityLog {
  readonly #deps: ActivityDeps;
  /** The apps that each router has calls of now; true if for longer than one report, or upgraded. */
  readonly #routers = new Map<string, Map<string, boolean>>();
  readonly #uses = new Map<string, Use>();
  /** Nothing is known of any app before this time. */
  #knownSinceMs: number;

  constructor(deps: ActivityDeps) {
    this.#deps = deps;
    this.#knownSinceMs = deps.now();
  }

  /** A report replaces what the router reported before: an app that it leaves out has no call there now. */
  report(router: string, apps: readonly AppActivity[]): void {
    const nowMs = this.#deps.now();
    if (this.#routers.size === 0) this.#knownSinceMs = nowMs;
    const before = this.#routers.get(router);
    const busyNow = new Map<string, boolean>();
    for (const { app, held, inFlight, upgraded, bytes, idleMs } of apps) {
      const rule = this.#deps.ruleOf(app);
      if (rule === undefined) continue;
      const use = this.#useOf(app);
      const isBusy = held + inFlight + upgraded > 0;
      const isLong = upgraded > 0 || (isBusy && before?.has(app) === true);
      const atMs = isBusy ? nowMs : nowMs - idleMs;
      if (isBusy) busyNow.set(app, isLong);
      if (isLong || before?.get(app) === true) use.longMs = Math.max(use.longMs, atMs);
      use.calledMs = Math.max(use.calledMs, atMs);
      if (bytes > 0) this.#addBytes(use, bytes, atMs, rule.periodMs);
    }
    this.#routers.set(router, busyNow);
  }

  /** The router is gone for good. What it did last counts as done now, because nobody knows what it did after its last report. */
  forget(router: string): void {
    const { now, ruleOf } = this.#deps;
    for (const app of this.#routers.get(router)?.keys() ?? [])
      if (ruleOf(app) !== undefined) this.#useOf(app).longMs = now();
    this.#routers.delete(router);
  }

  /** The app is deleted. */
  drop(app: string): void {
    this.#uses.delete(app);
  }

  /** Whether any router has a call of the app now. */
  busy(app: string): boolean {
    return [...this.#routers.values()].some((apps) => apps.has(app));
  }

  /**
   * Whether no router has a call of the app now, and the app was not used within the period. False while no router reports, and for a
   * period after that.
   */
  idle(app: string, unreported: Unreported = { bytes: 0, idleMs: Infinity }): boolean {
    const rule = this.#deps.ruleOf(app);
    if (rule === undefined || this.#routers.size === 0 || this.busy(app)) return false;
    const sinceMs = this.#deps.now() - rule.periodMs;
    if (this.#knownSinceMs > sinceMs) return false;
    const use = this.#uses.get(app);
    if (use !== undefined && use.longMs > sinceMs) return false;
    if (rule.watermarkBytes === 0) return (use?.calledMs ?? 0) <= sinceMs && unreported.idleMs >= rule.periodMs;
    // Unreported bytes may be later than the last use: calls that `wake.rules` keep from waking the app have bytes too.
    let bytes = unreported.idleMs < rule.periodMs ? unreported.bytes : 0;
    for (const part of use?.parts ?? []) if (part.endedMs > sinceMs) bytes += part.bytes;
    return bytes < rule.watermarkBytes;
  }

  #useOf(app: string): Use {
    let use = this.#uses.get(app);
    if (use === undefined) this.#uses.set(app, (use = { calledMs: -Infinity, longMs: -Infinity, parts: [] }));
    return use;
  }

  #addBytes({ parts }: Use, bytes: number, atMs: number, periodMs: number): void {
    const beginMs = this.#deps.now() - periodMs;
    while (parts[0] !== undefined && parts[0].endedMs <= beginMs) parts.shift();
    const last = parts.at(-1);
    if (last === undefined || atMs - last.beganMs >= periodMs / windowParts) {
      parts.push({ beganMs: atMs, endedMs: atMs, bytes });
      return;
    }
    last.endedMs = Math.max(last.endedMs, atMs);
    last.bytes += bytes;
  }
}
