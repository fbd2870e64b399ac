/** Calls at the edge of the path that their route strips: exactly that path, or an empty segment behind it. */
import { AppError } from '../shared/errors.ts';
import type { Call } from './call/call.ts';
import type { LocalAnswers } from './call/local-answer.ts';
import { barePrefix, withoutEmptySegment } from './message/path.ts';
import type { App } from './table/apps.ts';
import type { Table } from './table/table.ts';
import { setPassive, type WakeGate } from './wake/wake-gate.ts';

export interface BelowPathDeps {
  readonly table: Pick<Table, 'lookup'>;
  readonly gate: Pick<WakeGate, 'mayStart'>;
  readonly local: Pick<LocalAnswers, 'send'>;
}

const noBody = Buffer.alloc(0);

/** @returns whether the call was answered; otherwise it goes on to the app. Called only for paths that are not plainly below. */
export function createBelowPath({ table, gate, local }: BelowPathDeps): (call: Call, app: App) => boolean {
  /** An empty segment is left out, unless the path could lead elsewhere without it, or still begins with a host. */
  function refusesEmptySegment(call: Call, app: App): boolean {
    const path = withoutEmptySegment(call.head.path, app.route);
    if (path !== undefined && table.lookup(call.host, path) === app) return false;
    call.refuse(new AppError('request_invalid', 'The request is refused: an empty segment after the path of the app.'));
    return true;
  }

  /** So that the relative links of its page lead to the app. Without a wake, and by 308, so that the method stays. */
  function redirects(call: Call, app: App): boolean {
    const { head } = call;
    if (app.route.addSlash === false || head.upgrade !== undefined) return false;
    if (head.method !== 'GET' && head.method !== 'HEAD') return false;
    // A monitor with a wake rule of its own gets what the rule says.
    if (!gate.mayStart(call, app)) return false;
    setPassive(call, app);
    const location = `${head.outerPrefix}${app.route.path}/${head.path.slice(app.route.path.length)}`;
    // Browsers keep a 308 for ever, and the route may change.
    local.send(call, { status: 308, fields: { Location: location, 'Cache-Control': 'no-store' }, body: noBody });
    return true;
  }

  return (call, app) => (barePrefix(call.head.path, app.route) ? redirects(call, app) : refusesEmptySegment(call, app));
}
