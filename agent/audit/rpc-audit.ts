/** Feeds the audit with what the agent's port is asked for. */
import type { IncomingMessage } from 'node:http';
import type { AppError } from '../../shared/errors.ts';
import type { ServedCall } from '../../shared/rpc/dispatch.ts';
import type { Audit } from './audit.ts';
import { describeCall } from './describe-call.ts';

/** The first segments of the paths that exist; others are not repeated, since anyone can write anything there. */
const knownPaths = /^\/(rpc|sources|contexts|hooks)(?:\/|$)/;

export function createRpcAudit(audit: Pick<Audit, 'record' | 'denied'>) {
  return {
    served: (call: ServedCall): void => {
      for (const entry of describeCall(call)) {
        if (entry.outcome === 'forbidden') audit.denied(entry);
        else audit.record(entry);
      }
    },
    /** A request without a known token, with too many connections, or without the right to what it asks for. */
    denied: (request: IncomingMessage, { code }: AppError, name: string | undefined): void => {
      audit.denied({ ...asked(request), actor: name ?? null, app: null, outcome: code, detail: '' });
    },
    /** A webhook that was taken or refused. @param apps that are looked up because of it. */
    webhook: (request: IncomingMessage, outcome: 'ok' | AppError, apps: readonly string[]): void => {
      const common = { ...asked(request), actor: null };
      if (outcome !== 'ok') audit.denied({ ...common, app: null, outcome: outcome.code, detail: '' });
      else if (apps.length === 0) audit.record({ ...common, app: null, outcome: 'ok', detail: 'no app follows it' });
      else for (const app of apps) audit.record({ ...common, app, outcome: 'ok', detail: '' });
    },
  };
}

function asked(request: IncomingMessage): { readonly address: string; readonly method: string } {
  const path = knownPaths.exec(request.url ?? '')?.[1];
  const method = `${request.method ?? ''} ${path === undefined ? 'another path' : `/${path}`}`;
  return { address: request.socket.remoteAddress ?? '', method };
}
