/**
 * Generates the OpenRPC 1.3 document of the RPC interface from the schemas; `rpc.discover` returns it. Our extensions
 * are `x-scopes`, `x-item` (what the method streams), `x-router-methods` (what the agent calls on a router) and
 * `x-notifications`. https://spec.open-rpc.org
 */
import { z } from 'zod';
import { errorTable, type ErrorCode } from '../error-codes.ts';
import { rpcErrorNumber } from './rpc-error.ts';
import {
  agentMethods,
  agentNotifications,
  routerMethods,
  rpcPath,
  subprotocol,
  type Method,
} from '../protocol/methods.ts';

interface OpenRpcDocument {
  readonly openrpc: string;
  readonly [key: string]: unknown;
}

type Json = Readonly<Record<string, unknown>>;

/** Error codes that the transport may return for any call. docs/errors.md lists the codes that methods add. */
const transportErrors: readonly ErrorCode[] = [
  'method_not_found',
  'invalid_params',
  'forbidden',
  'too_many_calls',
  'deadline_exceeded',
  'cancelled',
  'not_leader',
  'internal',
];

/** @param release the version of Holdfast, shown as `info.version`. */
export function openRpcDocument(release: string): OpenRpcDocument {
  return {
    openrpc: '1.3.2',
    info: {
      title: 'Holdfast agent',
      version: release,
      license: { name: 'Apache-2.0' },
      description:
        `JSON-RPC 2.0 on ${rpcPath}: by WebSocket (subprotocol ${subprotocol}) or one call by HTTP POST, ` +
        'with `Authorization: Bearer TOKEN`. Streamed items come as notifications `rpc.item` before the result; ' +
        '`rpc.cancel` {id} cancels; `meta.deadlineMs` beside `params` bounds a call.',
    },
    methods: Object.entries(agentMethods).map(([name, method]) => methodObject(name, method)),
    components: { errors: Object.fromEntries(errorObjects()) },
    'x-router-methods': Object.entries(routerMethods).map(([name, method]) => methodObject(name, method)),
    'x-notifications': Object.entries(agentNotifications).map(([name, { summary, scopes, params }]) => ({
      name,
      summary,
      'x-scopes': scopes,
      params: paramDescriptors(params),
    })),
  };
}

function methodObject(name: string, method: Method): Json {
  return {
    name,
    summary: method.summary,
    paramStructure: 'by-name',
    params: paramDescriptors(method.params),
    result: { name: 'result', schema: jsonSchema(method.result, 'output') },
    errors: transportErrors.map((code) => ({ $ref: `#/components/errors/${code}` })),
    'x-scopes': method.scopes,
    ...(method.item !== undefined && { 'x-item': { name: 'item', schema: jsonSchema(method.item, 'output') } }),
  };
}

/** Returns one content descriptor for each member of the params object. */
function paramDescriptors(params: z.ZodType): Json[] {
  const { properties = {}, required = [] } = jsonSchema(params, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({ name, required: required.includes(name), schema }));
}

/** OpenRPC 1.3 schemas are JSON Schema draft 7. Values that it cannot express (transformed ones) are unrestricted. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { target: 'draft-7', io, unrepresentable: 'any' });
  return rest;
}

function errorObjects(): [string, Json][] {
  return (Object.keys(errorTable) as ErrorCode[]).map((code) => {
    const { status, owner, retryable = false, help } = errorTable[code];
    return [
      code,
      { code: rpcErrorNumber(code), message: help, data: { code, owner, retryable }, 'x-http-status': status },
    ];
  });
}
