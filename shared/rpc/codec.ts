/**
 * Decodes frames to messages and encodes messages to frames. It is strict where JSON-RPC 2.0 is strict (version, ids,
 * exactly one of result and error) and lenient where the spec is (unknown members are ignored, `params` may be
 * missing). docs/rpc.md describes our extensions: `meta.deadlineMs` beside `params`, and the notifications `rpc.item`
 * and `rpc.cancel`. Batches are refused, since a link carries any number of concurrent calls anyway.
 */
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { errorObject, fromRpcError, toRpcError } from './rpc-error.ts';

/** Ids are unique among the calls in flight of one side. Ours are numbers; other implementations may use strings. */
export type CallId = number | string;

export type Message =
  | {
      readonly kind: 'request';
      readonly id: CallId;
      readonly method: string;
      readonly params: unknown;
      readonly deadlineMs: number | undefined;
    }
  | { readonly kind: 'notification'; readonly method: string; readonly params: unknown }
  | { readonly kind: 'item'; readonly id: CallId; readonly item: unknown }
  | { readonly kind: 'cancel'; readonly id: CallId }
  | { readonly kind: 'result'; readonly id: CallId; readonly result: unknown }
  | { readonly kind: 'error'; readonly id: CallId | null; readonly error: AppError }
  /** `brokenId` is the id of the call that the frame was meant to answer, if it could be read. */
  | { readonly kind: 'malformed'; readonly error: AppError; readonly brokenId: CallId | undefined };

/** Numbers outside the safe integer range are rejected: two ids could parse to the same value. */
const callId = z.union([z.number().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER), z.string().max(256)]);
const versioned = { jsonrpc: z.literal('2.0') };
const methodName = z.string().min(1).max(256);

/** JSON-RPC allows parameters by name or by position; the schema of the method then accepts only what it knows. */
const params = z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]).default({});
const meta = z.looseObject({ deadlineMs: z.number().nonnegative().optional() }).optional();

const request = z.looseObject({ ...versioned, id: callId, method: methodName, params, meta });
const notification = z.looseObject({ ...versioned, method: methodName, params });
const response = z.looseObject({ ...versioned, id: callId.nullable() });
const itemParams = z.looseObject({ id: callId, item: z.unknown() });
const cancelParams = z.looseObject({ id: callId });

const itemMethod = 'rpc.item';
const cancelMethod = 'rpc.cancel';

/** Never throws: a frame that is not a valid message is returned as `malformed`. */
export function decode(frame: string): Message {
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    return malformed('parse_error', 'the frame is not JSON');
  }
  if (Array.isArray(value)) return malformed('invalid_request', 'batches are not taken: send one message a frame');
  if (typeof value !== 'object' || value === null) return malformed('invalid_request', 'the frame is not an object');
  if (Object.hasOwn(value, 'method')) return Object.hasOwn(value, 'id') ? asRequest(value) : asNotification(value);
  return asResponse(value);
}

function asRequest(value: object): Message {
  const parsed = request.safeParse(value);
  if (!parsed.success) return malformed('invalid_request', `not a JSON-RPC 2.0 request: ${where(parsed.error)}`);
  const { id, method, params, meta } = parsed.data;
  return { kind: 'request', id, method, params, deadlineMs: meta?.deadlineMs };
}

function asNotification(value: object): Message {
  const parsed = notification.safeParse(value);
  if (!parsed.success) return malformed('invalid_request', `not a JSON-RPC 2.0 notification: ${where(parsed.error)}`);
  const { method, params } = parsed.data;
  if (method === itemMethod) {
    const item = itemParams.safeParse(params);
    if (!item.success) return malformed('invalid_request', `${itemMethod}: ${where(item.error)}`);
    return { kind: 'item', id: item.data.id, item: item.data.item };
  }
  if (method === cancelMethod) {
    const cancel = cancelParams.safeParse(params);
    if (!cancel.success) return malformed('invalid_request', `${cancelMethod}: ${where(cancel.error)}`);
    return { kind: 'cancel', id: cancel.data.id };
  }
  return { kind: 'notification', method, params };
}

function asResponse(value: object): Message {
  const parsed = response.safeParse(value);
  if (!parsed.success) return malformed('invalid_request', `not a JSON-RPC 2.0 message: ${where(parsed.error)}`);
  const { id } = parsed.data;
  const hasResult = Object.hasOwn(value, 'result');
  if (hasResult === Object.hasOwn(value, 'error')) {
    return malformed('invalid_request', 'a response has exactly one of result and error', id);
  }
  if (hasResult) {
    if (id === null) return malformed('invalid_request', 'a result needs the id of its call');
    return { kind: 'result', id, result: (value as { result: unknown }).result };
  }
  const error = errorObject.safeParse((value as { error: unknown }).error);
  if (!error.success) return malformed('invalid_request', `not a JSON-RPC 2.0 error: ${where(error.error)}`, id);
  return { kind: 'error', id, error: fromRpcError(error.data) };
}

function malformed(code: 'parse_error' | 'invalid_request', message: string, brokenId?: CallId | null): Message {
  return { kind: 'malformed', error: new AppError(code, message), brokenId: brokenId ?? undefined };
}

/** Describes the first issue: its path and its message. */
export function where(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'invalid';
  return issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`;
}

export function encodeRequest(id: CallId, method: string, params: unknown, deadlineMs: number | undefined): string {
  const meta = deadlineMs === undefined ? undefined : { deadlineMs };
  return JSON.stringify({ jsonrpc: '2.0', id, method, params, meta });
}

export function encodeNotification(method: string, params: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params });
}

export function encodeItem(id: CallId, item: unknown): string {
  return encodeNotification(itemMethod, { id, item });
}

export function encodeCancel(id: CallId): string {
  return encodeNotification(cancelMethod, { id });
}

/** A handler that returns nothing is answered with `{}`, since a response must have a result. */
export function encodeResult(id: CallId, result: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result: result ?? {} });
}

export function encodeError(id: CallId | null, thrown: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', id, error: toRpcError(thrown) });
}
