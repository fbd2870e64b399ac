/**
 * The access log: a JSON line for each call that has ended. Lines are composed by hand, because the objects of a logger and a write
 * for each line cost as much as the call itself. Fields and their order are those of other log lines.
 */
import type { AppError } from '../../shared/errors.ts';
import type { Call } from '../call/call.ts';
import type { PeerIdentity } from '../message/peer-identity.ts';
import type { LineWriter } from './line-writer.ts';
import type { RequestHead } from '../message/request-head.ts';

export type AccessLog = ReturnType<typeof createAccessLog>;

export interface AccessLogDeps {
  readonly lines: Pick<LineWriter, 'add'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Paths and fields are truncated to this length. */
const maxValueLength = 2_048;

export function createAccessLog({ lines, now }: AccessLogDeps) {
  const time = isoTimes(now);
  return {
    /** @param status 499 if the client left before its answer began. */
    call(call: Call, status: number, durationMs: number): void {
      const { head, app } = call;
      const { peer } = head;
      // The query is left out: it may contain secrets.
      const query = head.path.indexOf('?');
      let line =
        `{"level":"info","time":"${time()}","component":"router","requestId":${text(head.requestId)}` +
        `,"method":"${head.method}","host":"${call.host}","path":${text(query < 0 ? head.path : head.path.slice(0, query))}`;
      if (app !== undefined) line += `,"app":"${app.name}"`;
      line += `,"status":${status}`;
      if (call.errorCode !== undefined) line += `,"code":"${call.errorCode}"`;
      line += `,"durationMs":${Math.round(durationMs)}`;
      if (call.heldMs !== undefined) line += `,"heldMs":${Math.round(call.heldMs)}`;
      line += `,"bytesReceived":${call.bytesReceived},"bytesSent":${call.bytesSent},"remoteAddress":"${peer.address}"`;
      line += `,"protocol":"${peer.speaks === 'HTTP/2' ? 'HTTP/2.0' : `HTTP/1.${head.minor}`}","scheme":"${peer.scheme}"`;
      lines.add(line + fieldsOf(head) + ',"msg":"call"}\n');
    },
    /** Logs a request that was refused before it became a call. */
    refused(client: PeerIdentity, status: number, error?: AppError): void {
      const line = `{"level":"info","time":"${time()}","component":"router","status":${status},"remoteAddress":"${client.address}"`;
      const why = error === undefined ? '' : `,"code":"${error.code}","error":${text(error.message)}`;
      lines.add(`${line}${why},"msg":"request refused"}\n`);
    },
  };
}

/** What only the fields of the head say; the first of several, because the keys of an object are unique. */
function fieldsOf(head: RequestHead): string {
  const userAgent = head.firstField('user-agent');
  const forwardedFor = head.peer.trusted ? head.firstField('x-forwarded-for') : undefined;
  return (
    (userAgent === undefined ? '' : `,"userAgent":${text(userAgent)}`) +
    (forwardedFor === undefined ? '' : `,"forwardedFor":${text(forwardedFor)}`)
  );
}

const plain = /^[ !#-[\]-~]*$/;

/** Formats a JSON string in ASCII. */
function text(value: string): string {
  const short = value.length > maxValueLength ? `${value.slice(0, maxValueLength)}…` : value;
  if (plain.test(short)) return `"${short}"`;
  return JSON.stringify(short).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Formats the time in ISO 8601; the part before the milliseconds is made once a second. */
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
