/**
 * Leader election by a Lease of the API server. Whoever holds it renews it; who finds it unchanged for its whole
 * duration may take it. Only this process's own monotonic clock is compared, never the times of two machines.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { isStatus, KubeApiError, type KubeApi, type KubeRequest } from '../kube/api.ts';
import type { Lease } from '../kube/kube-types.ts';
import type { Election } from './election.ts';

export interface LeaseElectionDeps {
  readonly api: Pick<KubeApi, 'request'>;
  readonly namespace: string;
  readonly leaseName: string;
  /** Name of the pod: a container that is started again finds its own lease and leads on at once. */
  readonly identity: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly leaseDurationMs?: number;
  readonly renewMs?: number;
  /** How often a standby looks: as long at most does a lease that was given back lie unused. */
  readonly retryMs?: number;
}

/** A leader that cannot renew steps down after this part of the lease, well before another may take it. */
const stepDownAfter = 2 / 3;
/** So long without any answer about the lease, and this process has lost its way to the API server. */
const maxSilenceMs = 60_000;

export function createLeaseElection(deps: LeaseElectionDeps): Election & Required<Pick<Election, 'live'>> {
  const { namespace, leaseName, identity, log, clock } = deps;
  const { leaseDurationMs = 6_000, renewMs = 2_000, retryMs = 500 } = deps;
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const path = `${collection}/${leaseName}`;
  const leadMs = leaseDurationMs * stepDownAfter;
  let answeredMs = clock.nowMs();
  /** The lease as last seen, and since when it has not changed. */
  let seen: { readonly resourceVersion: string; readonly atMs: number } | undefined;

  async function ask(request: KubeRequest): Promise<Lease> {
    try {
      const lease = await deps.api.request<Lease>(request);
      answeredMs = clock.nowMs();
      return lease;
    } catch (error) {
      // Refused is answered too: a restart would not change it.
      if (error instanceof KubeApiError) answeredMs = clock.nowMs();
      throw error;
    }
  }

  function record(before: Lease | undefined, holder: string): Lease {
    const now = new Date().toISOString().replace('Z', '000Z'); // MicroTime
    const own = before?.spec?.holderIdentity === identity;
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...before?.metadata, name: leaseName, namespace },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: Math.ceil(leaseDurationMs / 1_000),
        acquireTime: own ? (before.spec?.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (own ? 0 : 1),
      },
    };
  }

  async function read(signal: AbortSignal, timeoutMs: number): Promise<Lease | undefined> {
    try {
      return await ask({ method: 'GET', path, signal, timeoutMs });
    } catch (error) {
      if (isStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** Fenced by resourceVersion: of two that write at once, one fails with 409. */
  async function write(lease: Lease, signal: AbortSignal, timeoutMs: number): Promise<Lease> {
    return lease.metadata.resourceVersion === undefined
      ? await ask({ method: 'POST', path: collection, body: lease, signal, timeoutMs })
      : await ask({ method: 'PUT', path, body: lease, signal, timeoutMs });
  }

  /** @returns the lease where it is ours now. */
  async function acquire(signal: AbortSignal): Promise<Lease | undefined> {
    const found = await read(signal, renewMs);
    const holder = found?.spec?.holderIdentity ?? '';
    const resourceVersion = found?.metadata.resourceVersion ?? '';
    if (seen?.resourceVersion !== resourceVersion) seen = { resourceVersion, atMs: clock.nowMs() };
    const theirsMs = (found?.spec?.leaseDurationSeconds ?? 0) * 1_000;
    const isFree = holder === '' || holder === identity || clock.nowMs() - seen.atMs >= theirsMs;
    if (!isFree) return undefined;
    try {
      return await write(record(found, identity), signal, renewMs);
    } catch (error) {
      if (isStatus(error, 409)) return undefined;
      throw error;
    }
  }

  /** Renews until `ended`, or until it may no longer be sure to hold the lease: then the reason. Never throws. */
  async function hold(first: Lease, fromMs: number, ended: AbortSignal): Promise<'kept' | AppError> {
    let lease = first;
    let renewedMs = fromMs;
    let pauseMs = renewMs;
    for (;;) {
      await sleep(clock, Math.max(0, Math.min(pauseMs, renewedMs + leadMs - clock.nowMs())), ended);
      if (ended.aborted) return 'kept';
      const beganMs = clock.nowMs();
      const leftMs = renewedMs + leadMs - beganMs;
      if (leftMs <= 0) return new AppError('fenced', 'the lease could not be renewed in time');
      try {
        lease = await write(record(lease, identity), ended, Math.min(leftMs, renewMs));
        renewedMs = beganMs;
        pauseMs = renewMs;
      } catch (error) {
        if (ended.aborted) return 'kept';
        log.warn({ err: toAppError(error) }, 'lease not renewed');
        pauseMs = retryMs;
        // Somebody wrote to it, or our own write went through and its answer was lost: look who has it.
        const now = isStatus(error, 409, 404) ? await reread(ended, leftMs) : undefined;
        if (now === undefined) continue;
        if (now.spec?.holderIdentity !== identity) return new AppError('fenced', 'another agent has the lease');
        lease = now;
      }
    }
  }

  async function reread(signal: AbortSignal, timeoutMs: number): Promise<Lease | undefined> {
    try {
      // A lease that was deleted is nobody's.
      return (await read(signal, timeoutMs)) ?? { metadata: { name: leaseName } };
    } catch {
      return undefined;
    }
  }

  /** So that a standby need not wait for the end of the lease. */
  async function release(): Promise<void> {
    const deadline = AbortSignal.timeout(2 * renewMs);
    try {
      // Read again: a renewal that was cut may have gone through.
      const last = await read(deadline, renewMs);
      if (last?.spec?.holderIdentity !== identity) return;
      await write(record(last, ''), deadline, renewMs);
      log.info('lease given back');
    } catch (error) {
      log.warn({ err: toAppError(error) }, 'lease not given back: it ends by itself');
    }
  }

  return {
    live() {
      const silentMs = clock.nowMs() - answeredMs;
      return silentMs < maxSilenceMs
        ? { ok: true, reason: 'ok' }
        : { ok: false, reason: `the lease was not read or renewed for ${String(Math.round(silentMs / 1_000))} s` };
    },

    async run(signal, lead) {
      while (!signal.aborted) {
        const beganMs = clock.nowMs();
        const lease = await acquire(signal).catch((error: unknown) => {
          if (!signal.aborted) log.warn({ err: toAppError(error) }, 'the lease cannot be read or taken');
          return undefined;
        });
        if (lease === undefined) {
          await sleep(clock, retryMs, signal);
          continue;
        }
        log.info({ lease: leaseName, identity }, 'lease taken');
        const lost = new AbortController();
        const ended = new AbortController();
        const holding = hold(lease, beganMs, ended.signal).then((result) => {
          if (result !== 'kept') lost.abort(result);
          return result;
        });
        try {
          // It is renewed until all is let go, also while stopping.
          await lead(AbortSignal.any([signal, lost.signal]));
        } finally {
          ended.abort();
          if ((await holding) === 'kept') await release();
        }
        if (!signal.aborted) await sleep(clock, retryMs, signal);
      }
    },
  };
}
