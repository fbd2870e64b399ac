/** What an attempt to have a call answered needs of the router. */
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import type { Call } from '../call/call.ts';
import type { Backlogs } from '../io/backlog.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import type { Deadlines } from '../io/deadlines.ts';
import type { BodyLimits } from '../message/body-reader.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { RequestParser } from '../message/request-parser.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import type { HttpDate } from '../message/http-date.ts';
import type { LateStarts } from './late-starts.ts';
import type { Target } from './targets.ts';
import type { Tunnels } from './tunnel.ts';

export interface ExchangeDeps {
  readonly clock: Clock;
  readonly backlogs: Backlogs;
  readonly readAhead: ReadAhead;
  readonly writer: HeadWriter;
  /** Holds the request head that was looked at last. */
  readonly requestParser: RequestParser;
  readonly lateStarts: LateStarts;
  /** And the answer head. */
  readonly parser: ResponseParser;
  readonly date: HttpDate;
  readonly deadlines: Deadlines;
  readonly tunnels: Tunnels;
  readonly limits: BodyLimits & {
    readonly headersTimeoutMs: number;
    readonly maxHeaderBytes: number;
    /** Of a request to an app by HTTP/2. */
    readonly streamBytes: number;
    /** Calls with bodies that are not whole yet, of one target. */
    readonly maxUploads: number;
  };
  /** The call has its connection. */
  readonly onConnected: (app: App, target: Target) => void;
  /** A connection was refused, or `timedOut`: not made in time. */
  readonly onDialFailed: (app: App, target: Target, timedOut: boolean) => void;
  /** The target is done with the call. */
  readonly onLeft: (app: App, target: Target) => void;
  readonly onUpgraded: (app: App, call: Call) => void;
  /** The tunnel that the call became is closed at both ends. */
  readonly onEnded: (app: App, call: Call, bytes: number) => void;
}
