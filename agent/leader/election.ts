/** Who leads, as main sees it: by a Kubernetes Lease (lease.ts), or always where there is only one agent. */

export interface Election {
  /**
   * Takes part until `signal` aborts; then gives the lead back and ends. Each time it is won `lead` is called, with a
   * signal that aborts when the lead is lost or must be given back; `lead` ends when everything it held is let go.
   */
  run(signal: AbortSignal, lead: (lost: AbortSignal) => Promise<void>): Promise<void>;
  /** Whether this process can still take part; where not, a restart is the way out. Absent: always. */
  live?(): { readonly ok: boolean; readonly reason: string };
}

/** For a platform with one agent. Should Postgres name another leader all the same, this one stands for election again. */
export const alwaysElected: Election = {
  async run(signal, lead) {
    while (!signal.aborted) await lead(signal);
  },
};
