/** Messages between the primary process of a router and its workers. */

/** What the primary can ask a worker, with the type of each answer. */
export interface Answers {
  readonly ready: { readonly ok: boolean; readonly reason: string };
  /** The result of `getMetricsAsJSON` of its registry. */
  readonly metrics: readonly unknown[];
  /** The result of `GET /debug/targets` with the given query. */
  readonly targets: unknown;
}

export type Subject = keyof Answers;

export type ToWorker =
  | { readonly kind: 'ask'; readonly id: number; readonly subject: Subject; readonly query: string }
  | { readonly kind: 'drain' };

export type FromWorker =
  | { readonly kind: 'listening'; readonly port: number; readonly tlsPort: number | undefined }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown };

/** Environment variables that the primary sets for a worker. */
export const indexVariable = 'ROUTER_WORKER_INDEX';
/** Set if other workers serve already: the worker accepts calls once it has its routes. */
export const lateVariable = 'ROUTER_WORKER_LATE';
