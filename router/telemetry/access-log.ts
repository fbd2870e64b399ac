/**
 * The access log: a JSON line for each call that has ended, composed by hand, since a logger's objects and its write for each
 * line cost as much as the call itself. The fields and their order are those of the process's other lines.
 */
import type { Call } from '../call/call.ts';
import type { Client } from '../message/peer-identity.ts';
import { Field } from '../message/field-names.ts';
import { fieldStride } from '../message/field-parser.ts';
import { RequestParser } from '../message/request-parser.ts';
import type { LineWriter } from './line-writer.ts';
import { requestIdOf, type RequestHead } from '../message/request-head.ts';

export interface AccessLog {
  /** @param status 499: the client left before its answer began. */
  call(call: Call, status: number, durationMs: number): void;
  /** A request that was refused before it was a call. */
  refused(client: Client, status: number): void;
}

export interface AccessLogDeps {
  readonly lines: Pick<LineWriter, 'add'>;
  readonly maxFields: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Of a path or a field, more of which is cut off. */
const maxValueLength = 2_048;

export function createAccessLog({ lines, maxFields, now }: AccessLogDeps): AccessLog {
  // Its own: the one of the connections may be at another head.
  const parser = new RequestParser({ maxFields });
  const time = isoTimes(now);
  return {
    call(call, status, durationMs) {
      const { head, app, clientSide } = call;
      const { client } = clientSide;
      // Without the query: it may carry what must not be in a log.
      const query = head.path.indexOf('?');
      let line =
        `{"level":"info","time":"${time()}","component":"router","requestId":${text(requestIdOf(head))}` +
        `,"method":"${head.method}","host":"${call.host}","path":${text(query < 0 ? head.path : head.path.slice(0, query))}`;
      if (app !== undefined) line += `,"app":"${app.name}"`;
      line += `,"status":${status}`;
      if (call.errorCode !== undefined) line += `,"code":"${call.errorCode}"`;
      line += `,"durationMs":${Math.round(durationMs)}`;
      if (call.heldMs !== undefined) line += `,"heldMs":${Math.round(call.heldMs)}`;
      line += `,"bytesReceived":${call.bytesReceived},"bytesSent":${call.bytesSent},"remoteAddress":"${client.address}"`;
      line += `,"protocol":"${client.speaks === 'HTTP/2' ? 'HTTP/2.0' : `HTTP/1.${head.minor}`}","scheme":"${client.scheme}"`;
      lines.add(line + fieldsOf(head, client.trusted) + ',"msg":"call"}\n');
    },
    refused(client, status) {
      lines.add(
        `{"level":"info","time":"${time()}","component":"router","status":${status},"remoteAddress":"${client.address}","msg":"request refused"}\n`,
      );
    },
  };

  /** What only the fields of the head tell. */
  function fieldsOf({ bytes, start }: RequestHead, trusted: boolean): string {
    parser.begin(start);
    if (parser.parse(bytes, bytes.length) !== 'done') return '';
    const { at, count } = parser.fields;
    let found = '';
    for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
      const kind = at[base + 4];
      const from = at[base] as number;
      const length = (at[base + 1] as number) - from;
      let key: string;
      if (kind === Field.other && length === 10 && isNamed(bytes, from, 'user-agent')) key = 'userAgent';
      else if (kind === Field.forwarding && trusted && length === 15 && isNamed(bytes, from, 'x-forwarded-for')) {
        key = 'forwardedFor';
      } else continue;
      // The first one only: keys of an object are unique.
      if (!found.includes(`"${key}":`))
        found += `,"${key}":${text(bytes.toString('latin1', at[base + 2], at[base + 3]))}`;
    }
    return found;
  }
}

function isNamed(bytes: Buffer, from: number, name: string): boolean {
  for (let at = 0; at < name.length; at += 1) {
    // Letters differ by this bit between cases, and `-` has it.
    if (((bytes[from + at] as number) | 0x20) !== name.charCodeAt(at)) return false;
  }
  return true;
}

const plain = /^[ !#-[\]-~]*$/;

/** As a JSON string, in ASCII. */
function text(value: string): string {
  const short = value.length > maxValueLength ? `${value.slice(0, maxValueLength)}…` : value;
  if (plain.test(short)) return `"${short}"`;
  return JSON.stringify(short).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** ISO 8601, made anew for each second only. */
function isoTimes(now: () => number): () => string {
  let second = -1;
  let prefix = '';
  return () => {
    const ms = now();
    const current = Math.floor(ms / 1_000);
    if (current !== second) {
      second = current;
      prefix = new Date(current * 1_000).toISOString().slice(0, 20);
    }
    return `${prefix}${String(Math.floor(ms) % 1_000).padStart(3, '0')}Z`;
  };
}
