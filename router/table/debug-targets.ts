/** `GET /debug/targets` of the admin server: where the calls of each app may go now, and what keeps a target from them. */
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
  /** Calls that it may have at once; null: no limit. */
  readonly limit: number | null;
  /** Dials that failed, in a row. */
  readonly failures: number;
  readonly sockets: { readonly open: number; readonly idle: number };
}

export interface TargetsView {
  readonly targets: readonly TargetView[];
  /** There are others that fit. */
  readonly more: boolean;
}

/**
 * Of apps that were called since this router began; of others it has asked nothing.
 * @throws AppError request_invalid for a parameter that is not known or out of range.
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
