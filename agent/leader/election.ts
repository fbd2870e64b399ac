/** Who leads: the agent that holds a Kubernetes Lease (lease.ts), or the only agent there is. */
import type { AppError } from '../../shared/errors.ts';

export interface Election {
  /**
   * Takes part until `signal` aborts; then releases the lead and ends. Each time this agent wins, `lead` is called with a
   * signal that aborts when the lead is lost or must be released. The lead is held until `lead` has returned.
   */
  run(signal: AbortSignal, lead: (lost: AbortSignal) => Promise<void>): Promise<void>;
  /** Why this agent could not even try to lead when it tried last. Absent: it always could. */
  trouble?(): AppError | undefined;
  /** Whether this process can still take part; if not, it needs a restart. Absent: always. */
  live?(): { readonly ok: boolean; readonly reason: string };
}

/** The election of a platform with one agent. If Postgres names another leader nevertheless, the agent tries again. */
export const alwaysElected: Election = {
  async run(signal, lead) {
    while (!signal.aborted) await lead(signal);
  },
};
