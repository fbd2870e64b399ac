/** `GET /debug/targets` of the admin server: the targets of each app, and what keeps calls from them. */
import { z } from 'zod';
import { AppError } from '../../shared/errors.ts';
import { appName } from '../../shared/protocol/app-spec.ts';
import { targetStates, type TargetState, type UpstreamTarget } from '../upstream/target.ts';
import type { App } from './apps.ts';

const query = z.strictObject({
  app: appName.optional(),
  state: z.enum(targetStates as [TargetState, ...TargetState[]]).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

interface TargetView {
  readonly app: string;
  readonly version: number;
  readonly id: string;
  readonly address: string;
  readonly state: TargetState;
  readonly inFlight: number;
  readonly upgraded: number;
  readonly connecting: number;
  /** Maximum number of calls at once; null: no limit. */
  readonly limit: number | null;
  /** Number of consecutive failed dials. */
  readonly failures: number;
  readonly sockets: { readonly open: number; readonly idle: number };
}

export interface TargetsView {
  readonly targets: readonly TargetView[];
  readonly more: boolean;
}

/**
 * Lists the targets of apps that were called since this router started; others are not known.
 * @throws AppError request_invalid for a parameter that is unknown or out of range.
 */
export function viewTargets(
  apps: { get(name: string): App | undefined; all(): Iterable<App> },
  params: URLSearchParams,
): TargetsView {
  const parsed = query.safeParse(Object.fromEntries(params));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new AppError('request_invalid', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`);
  }
  const { app: name, state, limit } = parsed.data;
  const one = name === undefined ? undefined : apps.get(name);
  const all = name === undefined ? apps.all() : one === undefined ? [] : [one];
  const targets: TargetView[] = [];
  for (const app of all) {
    for (const target of app.targets) {
      if (state !== undefined && target.state !== state) continue;
      if (targets.length === limit) return { targets, more: true };
      targets.push(view(app, target));
    }
  }
  return { targets, more: false };
}

function view(app: App, target: UpstreamTarget): TargetView {
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return {
    app: app.name,
    version: app.route.version,
    id: target.id,
    address: `${host}:${target.port}`,
    state: target.state,
    inFlight: target.inFlight,
    upgraded: target.upgraded,
    connecting: target.connecting,
    limit: Number.isFinite(target.limit) ? target.limit : null,
    failures: target.failures,
    sockets: target.sockets,
  };
}
