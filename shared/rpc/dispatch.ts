/** Checks a call and runs its handler, whether the call arrived on a link or by HTTP POST. */
import type { z } from 'zod';
import type { ErrorCode } from '../error-codes.ts';
import { AppError, toAppError } from '../errors.ts';
import type { Method, MethodTable, Scope } from '../protocol/methods.ts';
import { findUnstorable } from '../storable-text.ts';
import { where } from './codec.ts';
import type { HandlerContext, Handlers, Identity } from './types.ts';

/** A call as it was received; none of it has been validated yet. */
interface IncomingCall<Remote extends MethodTable> {
  readonly method: string;
  readonly params: unknown;
  readonly context: HandlerContext<Remote, Method>;
}

/** A call that has ended. Parameters are as received if they were refused. */
export interface ServedCall {
  readonly method: string;
  readonly params: unknown;
  readonly identity: Identity;
  readonly outcome: 'ok' | ErrorCode;
  /** Undefined unless the outcome is `ok`. */
  readonly result: unknown;
}

/** @throws AppError method_not_found, forbidden, invalid_params (`data.issues`), or what the handler throws. */
export type Dispatch<Remote extends MethodTable> = (call: IncomingCall<Remote>) => Promise<unknown>;

/** At most this many issues are reported for one call; a hostile call could have thousands. */
const maxIssues = 20;

/** Results are not validated here: they come from typed code, and the receiver (`pending-calls.ts`) validates them. */
export function createDispatch<Local extends MethodTable, Remote extends MethodTable>(deps: {
  readonly local: Local;
  readonly handlers: Handlers<Local, Remote>;
  /** Called at the end of each call of a known method. */
  readonly onServed?: ((call: ServedCall) => void) | undefined;
}): Dispatch<Remote> {
  return async (call) => {
    const { method, params, context } = call;
    const ended = { method, params, identity: context.identity };
    try {
      const result = await serve(call);
      deps.onServed?.({ ...ended, outcome: 'ok', result });
      return result;
    } catch (error) {
      const { code } = toAppError(error);
      if (code !== 'method_not_found') deps.onServed?.({ ...ended, outcome: code, result: undefined });
      throw error;
    }
  };

  async function serve({ method: name, params, context }: IncomingCall<Remote>): Promise<unknown> {
    // Only own properties count, so that `constructor` is not a method.
    const method = Object.hasOwn(deps.local, name) ? deps.local[name] : undefined;
    if (method === undefined) throw new AppError('method_not_found', `no method ${printable(name)}`);
    if (!mayCall(context.identity.scopes, method.scopes)) {
      throw new AppError('forbidden', `${name} needs one of the scopes ${method.scopes.join(', ')}`);
    }
    const unstorable = findUnstorable(params);
    if (unstorable !== undefined) throw unstorableText(name, unstorable);
    const parsed = method.params.safeParse(params);
    if (!parsed.success) throw invalidParams(name, parsed.error);
    // The types guarantee that the table and the handlers have the same keys, but not which method this name refers to.
    const handler = deps.handlers[name] as (
      params: unknown,
      context: HandlerContext<Remote, Method>,
    ) => Promise<unknown>;
    return await handler(parsed.data, context);
  }
}

/** The scope `admin` permits everything, and `deploy` includes `read`. */
export function mayCall(held: readonly Scope[], needed: readonly Scope[]): boolean {
  return held.some(
    (scope) => scope === 'admin' || needed.includes(scope) || (scope === 'deploy' && needed.includes('read')),
  );
}

function invalidParams(method: string, error: z.ZodError): AppError {
  const issues = error.issues
    .slice(0, maxIssues)
    .map((issue) => ({ path: issue.path.map(String).join('.'), message: issue.message }));
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : '';
  return new AppError('invalid_params', `${method}: ${where(error)}${more}`, { data: { issues } });
}

function unstorableText(method: string, path: readonly string[]): AppError {
  const message =
    'contains U+0000 or half of a surrogate pair, which neither Postgres nor Kubernetes can hold; encode bytes as Base64';
  const issue = { path: path.join('.'), message };
  return new AppError('invalid_params', `${method}: ${issue.path}: ${message}`, { data: { issues: [issue] } });
}

/** Quotes and shortens an untrusted name for a message or a log line. */
function printable(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}
