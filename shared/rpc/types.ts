/** The RPC peer as its users see it. Implemented in peer.ts; the wire form is described there. */
import type { ItemOf, Method, MethodTable, ParamsInputOf, ParamsOf, ResultOf, Scope } from '../protocol/methods.ts';

export interface CallOptions<M extends Method> {
  /** Ends the call here and tells the other side (`rpc.cancel`); rejects with code `cancelled`. */
  readonly signal?: AbortSignal;
  /** Whole time the call may take, milliseconds; sent along as remaining time. Rejects with `deadline_exceeded`. */
  readonly deadlineMs?: number;
  /** Takes each streamed item, in order, before the call resolves. */
  readonly onItem?: (item: ItemOf<M>) => void;
}

/** One end of a link. `Remote` is the table of methods that the other end serves. */
export interface Peer<Remote extends MethodTable> {
  /** @throws AppError of the other side's code, or link_lost, deadline_exceeded, cancelled, too_many_calls. */
  call<K extends keyof Remote & string>(
    method: K,
    params: ParamsInputOf<Remote[K]>,
    options?: CallOptions<Remote[K]>,
  ): Promise<ResultOf<Remote[K]>>;
  /** Sent without an answer; dropped when the link is gone. */
  notify(method: string, params: Readonly<Record<string, unknown>>): void;
  /** Aborted, with an AppError as reason, when the link is gone for whatever reason. */
  readonly closed: AbortSignal;
  /** Milliseconds (monotonic clock) at which the other side was last heard of. */
  readonly lastHeardMs: number;
  /** Says why, ends calls with link_lost, resolves when the socket is closed (terminated after 1 s). */
  close(code?: number, reason?: string): Promise<void>;
}

/** Who is at the other end. */
export interface Identity {
  /** Name of the token. */
  readonly name: string;
  readonly scopes: readonly Scope[];
}

export interface HandlerContext<Remote extends MethodTable, M extends Method> {
  readonly identity: Identity;
  /** Aborted when the caller cancels, its deadline passes or its link is lost. */
  readonly signal: AbortSignal;
  /** Streams an item; resolves when the send buffer has room again, so that a producer that awaits it is slowed. */
  readonly emit: (item: ItemOf<M>) => Promise<void>;
  /** The link the call came by, to call back; undefined for HTTP POST. */
  readonly peer: Peer<Remote> | undefined;
}

/** What serves the methods of `Local` to a peer that serves `Remote`. */
export type Handlers<Local extends MethodTable, Remote extends MethodTable> = {
  readonly [K in keyof Local]: (
    params: ParamsOf<Local[K]>,
    context: HandlerContext<Remote, Local[K]>,
  ) => Promise<ResultOf<Local[K]>>;
};

/** What takes notifications; each validates its own parameters. */
export type NotificationHandlers<Remote extends MethodTable> = Readonly<
  Record<
    string,
    (params: unknown, context: { readonly identity: Identity; readonly peer: Peer<Remote> | undefined }) => void
  >
>;
