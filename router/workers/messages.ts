/** What a router's first process and its workers say to each other, by the channel between them. */

/** What a worker can be asked, and what it answers with. */
export interface Answers {
  readonly ready: { readonly ok: boolean; readonly reason: string };
  /** `getMetricsAsJSON` of its registry. */
  readonly metrics: readonly unknown[];
  /** `GET /debug/targets`, of the query. */
  readonly targets: unknown;
}

export type Subject = keyof Answers;

export type ToWorker =
  | { readonly kind: 'ask'; readonly id: number; readonly subject: Subject; readonly query: string }
  | { readonly kind: 'drain' };

export type FromWorker =
  | { readonly kind: 'listening'; readonly port: number; readonly tlsPort: number | undefined }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown };

/** Variables of a worker's environment, which the first process sets. */
export const indexVariable = 'ROUTER_WORKER_INDEX';
/** Set where others serve already: it comes in when it has its routes. */
export const lateVariable = 'ROUTER_WORKER_LATE';
