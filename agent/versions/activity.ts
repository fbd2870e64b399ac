/**
 * What routers say they do for each app: the ground for deciding that an app is idle. A report comes every two seconds, so
 * what it says is a little old; routers are asked once more before an app goes to zero (`targets.release`).
 */
import type { AppActivity } from '../../shared/protocol/methods.ts';

/** When an app counts as idle. */
export interface IdleRule {
  readonly periodMs: number;
  /** Fewer bytes within the period are no use of the app; 0: every call is one. */
  readonly watermarkBytes: number;
}

/** What a router did for an app and has not reported yet. */
export interface Unreported {
  readonly bytes: number;
  /** Since a call last began or ended there; Infinity where none did. */
  readonly idleMs: number;
}

export interface ActivityLog {
  /** A report replaces what the router said before; an app it leaves out has no call there now. */
  report(router: string, apps: readonly AppActivity[]): void;
  /** The router is gone for good: what it last did counts as done now, since nobody knows what came after. */
  forget(router: string): void;
  /** The app is deleted. */
  drop(app: string): void;
  /** Whether any router has a call of the app now. */
  busy(app: string): boolean;
  /**
   * Whether no router has a call of the app now, and the app was not used within the period. False while no router tells
   * anything, and for a period after that.
   */
  idle(app: string, unreported?: Unreported): boolean;
}

interface ActivityDeps {
  readonly now: () => number;
  /** Of the app as it is declared now; undefined where there is no such app. */
  readonly ruleOf: (app: string) => IdleRule | undefined;
}

/** Of all routers together. */
interface Use {
  /** A call last began or ended. */
  calledMs: number;
  /** A connection was last upgraded, or a call in flight for longer than from one report to the next. */
  longMs: number;
  /** Oldest first: a sliding window of the period, in a bounded number of parts. */
  readonly parts: { readonly beganMs: number; endedMs: number; bytes: number }[];
}

/** Each is as long as this part of the period: so much longer its bytes may count. */
const windowParts = 16;

export function createActivityLog({ now, ruleOf }: ActivityDeps): ActivityLog {
  /** Apps that each router has calls of now; true: for longer than from one report to the next, or upgraded. */
  const routers = new Map<string, Map<string, boolean>>();
  const uses = new Map<string, Use>();
  /** Before this nothing was known of any app. */
  let knownSinceMs = now();

  function useOf(app: string): Use {
    let use = uses.get(app);
    if (use === undefined) uses.set(app, (use = { calledMs: -Infinity, longMs: -Infinity, parts: [] }));
    return use;
  }

  function add({ parts }: Use, bytes: number, atMs: number, periodMs: number): void {
    while (parts[0] !== undefined && parts[0].endedMs <= now() - periodMs) parts.shift();
    const last = parts.at(-1);
    if (last === undefined || atMs - last.beganMs >= periodMs / windowParts) {
      parts.push({ beganMs: atMs, endedMs: atMs, bytes });
      return;
    }
    last.endedMs = Math.max(last.endedMs, atMs);
    last.bytes += bytes;
  }

  const busy = (app: string): boolean => [...routers.values()].some((apps) => apps.has(app));

  return {
    report(router, apps) {
      const nowMs = now();
      if (routers.size === 0) knownSinceMs = nowMs;
      const before = routers.get(router);
      const busyNow = new Map<string, boolean>();
      for (const { app, held, inFlight, upgraded, bytes, idleMs } of apps) {
        const rule = ruleOf(app);
        if (rule === undefined) continue;
        const use = useOf(app);
        const isBusy = held + inFlight + upgraded > 0;
        const isLong = upgraded > 0 || (isBusy && before?.has(app) === true);
        const atMs = isBusy ? nowMs : nowMs - idleMs;
        if (isBusy) busyNow.set(app, isLong);
        if (isLong || before?.get(app) === true) use.longMs = Math.max(use.longMs, atMs);
        use.calledMs = Math.max(use.calledMs, atMs);
        if (bytes > 0) add(use, bytes, atMs, rule.periodMs);
      }
      routers.set(router, busyNow);
    },
    forget(router) {
      for (const app of routers.get(router)?.keys() ?? []) if (ruleOf(app) !== undefined) useOf(app).longMs = now();
      routers.delete(router);
    },
    drop(app) {
      uses.delete(app);
    },
    busy,
    idle(app, unreported = { bytes: 0, idleMs: Infinity }) {
      const rule = ruleOf(app);
      if (rule === undefined || routers.size === 0 || busy(app)) return false;
      const sinceMs = now() - rule.periodMs;
      if (knownSinceMs > sinceMs) return false;
      const use = uses.get(app);
      if (use !== undefined && use.longMs > sinceMs) return false;
      if (rule.watermarkBytes === 0) return (use?.calledMs ?? 0) <= sinceMs && unreported.idleMs >= rule.periodMs;
      // Later than the last use: of calls that wake.rules keep from waking it.
      let bytes = unreported.idleMs < rule.periodMs ? unreported.bytes : 0;
      for (const part of use?.parts ?? []) if (part.endedMs > sinceMs) bytes += part.bytes;
      return bytes < rule.watermarkBytes;
    },
  };
}
