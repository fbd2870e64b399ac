/** An attempt by itself, between a client and a target that write down what they are asked to do. */
import { Socket } from 'node:net';
import type { Route } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { Call, type CallApp, type CallRouting } from '../call/call.ts';
import type { ClientSide, RequestSink } from '../call/client-side.ts';
import { SocketIo } from '../io/socket-io.ts';
import { HeadWriter } from '../message/head-writer.ts';
import { HttpDate } from '../message/http-date.ts';
import { ClientFields } from '../message/client-fields.ts';
import { PeerIdentity, trustedProxies } from '../message/peer-identity.ts';
import { RequestHeads, type RequestHead } from '../message/request-head.ts';
import { ResponseParser } from '../message/response-parser.ts';
import { Attempt, type AttemptDeps } from '../upstream/attempt.ts';
import { LateStarts } from '../upstream/late-starts.ts';
import { UpstreamTarget } from '../upstream/target.ts';
import type { Transport, TransportDeps } from '../upstream/transport.ts';
import type { Tunnel } from '../upstream/tunnel.ts';
import { asleep, routeOf } from './router.ts';

const maxFields = 32;
const heads = new RequestHeads({ maxFields });
const peer = new PeerIdentity(new Socket(), {
  proxies: trustedProxies([]),
  fields: new ClientFields({ drop: [], pass: [] }),
});

export function headOf(text: string): RequestHead {
  const bytes = Buffer.from(text, 'latin1');
  const parser = heads.begin();
  parser.parse(bytes, bytes.length);
  return heads.read(parser, bytes, peer);
}

/** Does nothing but say so. */
class FakeTransport implements Transport {
  origin: Transport['origin'];
  isExclusive = true;
  receivedAny = false;
  /** Whether the target takes a request · keeps up with its body · whether the body can be had again. */
  takesHead = true;
  keepsUp = true;
  recalls = true;
  answerByMs = Infinity;
  readonly #did: string[];

  constructor(origin: Transport['origin'], did: string[]) {
    this.origin = origin;
    this.#did = did;
  }

  sendHead(head: RequestHead): boolean {
    if (this.takesHead) this.#did.push(`head ${head.method}`);
    return this.takesHead;
  }

  sendBody(bytes: Buffer, start: number, end: number): void {
    this.#did.push(`body ${bytes.toString('latin1', start, end)}`);
  }

  endBody(): void {
    this.#did.push('body ends');
  }

  flush(): boolean {
    this.#did.push('request sent');
    return this.keepsUp;
  }

  awaitAnswer(deadlineMs: number): void {
    this.answerByMs = deadlineMs;
  }

  resume(): void {
    this.#did.push('answer resumed');
  }

  recallBody(): boolean {
    return this.recalls;
  }

  abort(): void {
    this.#did.push('aborted');
  }
}

export interface AttemptRig {
  readonly attempt: Attempt;
  readonly call: Call;
  readonly transport: FakeTransport;
  readonly target: UpstreamTarget;
  /** What client, target and router were asked to do, in order. */
  readonly did: string[];
  /** Whether the client keeps up with its answer. */
  readonly client: { keepsUp: boolean };
  readonly clock: ReturnType<typeof createManualClock>;
  /** The answer begins with this head. @returns bytes of body that follow. */
  readonly answerHead: (text: string) => number;
}

export interface RigOptions {
  readonly origin?: Transport['origin'];
  readonly isExclusive?: boolean;
  readonly takesHead?: boolean;
  readonly maxUploads?: number;
  /** What the client has sent of the body before the call goes out. */
  readonly arrived?: (sink: RequestSink) => void;
  /** Of an earlier rig, whose target gets this call too. */
  readonly target?: UpstreamTarget;
}

/** Sends a call with this head. */
export function sendCall(text: string, options: RigOptions = {}): AttemptRig {
  const did: string[] = [];
  const clock = createManualClock();
  const transport = new FakeTransport(options.origin ?? 'idle', did);
  transport.isExclusive = options.isExclusive ?? true;
  transport.takesHead = options.takesHead ?? true;
  const target = options.target ?? new UpstreamTarget({ id: 't', host: 'h', port: 1 }, {} as TransportDeps);
  target.open = () => transport;
  const downstream = { keepsUp: true };
  const call = new Call(clientSide(did, downstream, options), headOf(text), routingOf(did, clock));
  Attempt.send(call, appOf(routeOf('a', asleep)), target, depsOf(did, options.maxUploads ?? 10, clock));
  const attempt = call.attempt as Attempt;
  return {
    attempt,
    call,
    transport,
    target,
    did,
    client: downstream,
    clock,
    answerHead(head) {
      const block = Buffer.from(head, 'latin1');
      const parser = new ResponseParser({ maxFields });
      parser.begin(0);
      parser.parse(block, block.length);
      return attempt.answerHead(block, parser);
    },
  };
}

/** A call that nobody has routed; `did` gets what becomes of it. */
export function lonelyCall(text: string, did: string[], clock: Clock): Call {
  return new Call(clientSide(did, { keepsUp: true }, {}), headOf(text), routingOf(did, clock));
}

function routingOf(did: string[], clock: Clock): CallRouting {
  return {
    clock,
    route: () => void did.push('routed again'),
    send: (_call, target) => void did.push(`sent to ${target.id}`),
    draining: () => false,
    ended: () => undefined,
  };
}

/** A target of an app, which has no connection. */
export function targetNamed(id: string): UpstreamTarget {
  const target = new UpstreamTarget({ id, host: 'h', port: 1 }, {} as TransportDeps);
  target.bound(1_000);
  return target;
}

function clientSide(did: string[], downstream: { readonly keepsUp: boolean }, { arrived }: RigOptions): ClientSide {
  return {
    answer: {
      continue: () => void did.push('continue'),
      interim: () => downstream.keepsUp,
      head: (_call, _block, parser) => void did.push(`answer ${parser.status}`),
      part: () => false,
      end: () => void did.push('answer ends'),
      flush: () => downstream.keepsUp,
      waitingBytes: 0,
    },
    readBody: (sink) => arrived?.(sink),
    resumeBody: () => void did.push('body resumed'),
    answered: () => void did.push('answered'),
    answerProblem: (_call, error) => void did.push(`refused ${error.code}`),
    breakOff: () => void did.push('broken off'),
  };
}

function appOf(route: Route): CallApp {
  return { name: route.app, route, inFlight: 0, passive: 0, lastActiveMs: 0, maxTotal: Infinity, bytes: 0 };
}

function depsOf(did: string[], maxUploads: number, clock: AttemptDeps['clock']): AttemptDeps {
  return {
    clock,
    writer: new HeadWriter(new SocketIo()),
    tunnels: new Set<Tunnel>(),
    lateStarts: new LateStarts(),
    date: new HttpDate(),
    headersTimeoutMs: 5_000,
    maxUploads,
    events: {
      targetConnected: () => void did.push('connected'),
      answerInvalid: () => void did.push('answer invalid'),
      dialFailed: (_app, _target, timedOut) => void did.push(timedOut ? 'dial timed out' : 'dial refused'),
      targetLeft: () => void did.push('left'),
      callUpgraded: () => undefined,
      tunnelClosed: () => undefined,
    },
  };
}
