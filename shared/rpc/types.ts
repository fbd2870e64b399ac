/** The public types of the RPC peer. peer.ts implements them; docs/rpc.md describes the wire format. */
import type { ItemOf, Method, MethodTable, ParamsInputOf, ParamsOf, ResultOf, Scope } from '../protocol/methods.ts';

export interface CallOptions<M extends Method> {
  /** Aborting rejects the call with code `cancelled` and notifies the other side (`rpc.cancel`). */
  readonly signal?: AbortSignal;
  /** Timeout for the whole call in milliseconds, sent along as the remaining time. Rejects with `deadline_exceeded`. */
  readonly deadlineMs?: number;
  /** Receives each streamed item, in order, before the call resolves. */
  readonly onItem?: (item: ItemOf<M>) => void;
}

/** One end of a link. `Remote` is the table of methods that the other end serves. */
export interface Peer<Remote extends MethodTable> {
  /** @throws AppError with the other side's code, or link_lost, deadline_exceeded, cancelled, too_many_calls. */
  call<K extends keyof Remote & string>(
    method: K,
    params: ParamsInputOf<Remote[K]>,
    options?: CallOptions<Remote[K]>,
  ): Promise<ResultOf<Remote[K]>>;
  /** Sends a notification, which has no answer. It is dropped if the link is lost. */
  notify(method: string, params: Readonly<Record<string, unknown>>): void;
  /** Aborts when the link is lost or closed for any reason; its reason is an AppError. */
  readonly closed: AbortSignal;
  /** Time at which the other side was last heard, in milliseconds of the monotonic clock. */
  readonly lastHeardMs: number;
  /** Closes the link. Calls fail with link_lost. Resolves when the socket is closed (terminated after 1 s). */
  close(code?: number, reason?: string): Promise<void>;
}

/** The authenticated party at the other end. */
export interface Identity {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** What a process says to tell itself from others of its name: made at random, and told to nobody else. */
  readonly instance?: string | undefined;
  /** ISO 8601: when its token expires. */
  readonly expires?: string | undefined;
  /** The address of its socket, if that is known. */
  readonly address?: string | undefined;
}

export interface HandlerContext<Remote extends MethodTable, M extends Method> {
  readonly identity: Identity;
  /** Aborts when the caller cancels, the deadline passes or the link is lost. */
  readonly signal: AbortSignal;
  /** Streams an item. Resolves when the send buffer has room again, which slows down a producer that awaits it. */
  readonly emit: (item: ItemOf<M>) => Promise<void>;
  /** The link on which the call arrived, for calls in the other direction; undefined for HTTP POST. */
  readonly peer: Peer<Remote> | undefined;
}

/** The handlers that serve the methods of `Local` to a peer that serves `Remote`. */
export type Handlers<Local extends MethodTable, Remote extends MethodTable> = {
  readonly [K in keyof Local]: (
    params: ParamsOf<Local[K]>,
    context: HandlerContext<Remote, Local[K]>,
  ) => Promise<ResultOf<Local[K]>>;
};

/** Handlers of notifications, by method. Each handler validates its own parameters. */
export type NotificationHandlers<Remote extends MethodTable> = Readonly<
  Record<
    string,
    (params: unknown, context: { readonly identity: Identity; readonly peer: Peer<Remote> | undefined }) => void
  >
>;
