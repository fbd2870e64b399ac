/**
 * Leader election by a Lease of the API server. The holder renews it; an agent that has seen it unchanged for its whole
 * duration may take it. Only the monotonic clock of this process is used, never the times of two machines.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { ObjectName } from '../kube/api.ts';
import { isStatus, KubeApiError } from '../kube/errors.ts';
import { typeOf, type Kinds } from '../kube/kinds.ts';
import type { Call } from '../kube/transport.ts';
import type { Election } from './election.ts';

type Lease = Kinds['Lease'];

/** The part of KubeApi that the election needs. */
export interface LeaseApi {
  read(kind: 'Lease', name: ObjectName, call: Call): Promise<Lease | undefined>;
  create(lease: Lease, call: Call): Promise<Lease>;
  replace(lease: Lease, call: Call): Promise<Lease>;
}

export interface LeaseElectionDeps {
  readonly api: LeaseApi;
  readonly namespace: string;
  readonly leaseName: string;
  /** Name of the pod: a restarted container finds its own lease and leads again at once. */
  readonly identity: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly leaseDurationMs?: number;
  readonly renewMs?: number;
  /** How often a standby looks, and so how long a released lease stays unused at most. */
  readonly retryMs?: number;
}

/** A leader that cannot renew steps down after this part of the duration, well before another agent may take the lease. */
const stepDownAfter = 2 / 3;
/** After this time without any answer about the lease, this process has lost its way to the API server. */
const maxSilenceMs = 60_000;

export function createLeaseElection(deps: LeaseElectionDeps): Election & Required<Pick<Election, 'live' | 'trouble'>> {
  const { api, namespace, leaseName, identity, log, clock } = deps;
  const { leaseDurationMs = 6_000, renewMs = 2_000, retryMs = 500 } = deps;
  const key = { namespace, name: leaseName };
  const leadMs = leaseDurationMs * stepDownAfter;
  let answeredMs = clock.nowMs();
  let trouble: AppError | undefined;
  /** The version of the lease seen last, and when it was first seen. */
  let seen: { readonly resourceVersion: string; readonly atMs: number } | undefined;

  /** Waits for an answer and remembers when it arrived. */
  async function noted<T extends Lease | undefined>(asked: Promise<T>): Promise<T> {
    try {
      const lease = await asked;
      answeredMs = clock.nowMs();
      trouble = undefined;
      return lease;
    } catch (error) {
      // A refusal is an answer too: a restart would not change it.
      if (error instanceof KubeApiError) answeredMs = clock.nowMs();
      throw error;
    }
  }

  function record(before: Lease | undefined, holder: string): Lease {
    const now = new Date().toISOString().replace('Z', '000Z'); // MicroTime
    const own = before?.spec?.holderIdentity === identity;
    return {
      ...typeOf('Lease'),
      metadata: { ...before?.metadata, ...key },
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
    return await noted(api.read('Lease', key, { signal, timeoutMs }));
  }

  /** Fenced by resourceVersion: if two agents write at once, one fails with 409. */
  async function write(lease: Lease, signal: AbortSignal, timeoutMs: number): Promise<Lease> {
    const isNew = lease.metadata?.resourceVersion === undefined;
    return await noted(isNew ? api.create(lease, { signal, timeoutMs }) : api.replace(lease, { signal, timeoutMs }));
  }

  /** Tries to take the lease. @returns the lease if this agent holds it now. */
  async function acquire(signal: AbortSignal): Promise<Lease | undefined> {
    const found = await read(signal, renewMs);
    const holder = found?.spec?.holderIdentity ?? '';
    const resourceVersion = found?.metadata?.resourceVersion ?? '';
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

  /** Renews the lease until `ended` aborts, or until this agent cannot be sure to hold it; returns why. Never throws. */
  async function hold(first: Lease, fromMs: number, ended: AbortSignal): Promise<'kept' | AppError> {
    let lease = first;
    let renewedMs = fromMs;
    let pauseMs = renewMs;
    for (;;) {
      await sleep(clock, Math.max(0, Math.min(pauseMs, renewedMs + leadMs - clock.nowMs())), ended);
      if (ended.aborted) return 'kept';
      const beganMs = clock.nowMs();
      const leftMs = renewedMs + leadMs - beganMs;
      if (leftMs <= 0)
        return new AppError('fenced', 'the lease could not be renewed in time, so another agent may take it');
      try {
        lease = await write(record(lease, identity), ended, Math.min(leftMs, renewMs));
        renewedMs = beganMs;
        pauseMs = renewMs;
      } catch (error) {
        if (ended.aborted) return 'kept';
        log.warn({ err: toAppError(error) }, 'the lease could not be renewed; trying again');
        pauseMs = retryMs;
        // Another agent wrote it, or our own write succeeded and its answer was lost: look who holds it.
        const now = isStatus(error, 409, 404) ? await reread(ended, leftMs) : undefined;
        if (now === undefined) continue;
        if (now.spec?.holderIdentity !== identity) return new AppError('fenced', 'another agent holds the lease');
        lease = now;
      }
    }
  }

  async function reread(signal: AbortSignal, timeoutMs: number): Promise<Lease | undefined> {
    try {
      // Nobody holds a deleted lease.
      return (await read(signal, timeoutMs)) ?? { metadata: { name: leaseName } };
    } catch {
      return undefined;
    }
  }

  /** Releases the lease, so that a standby need not wait until it expires. */
  async function release(): Promise<void> {
    const deadline = AbortSignal.timeout(2 * renewMs);
    try {
      // Read it again: a renewal that was cancelled may have succeeded.
      const last = await read(deadline, renewMs);
      if (last?.spec?.holderIdentity !== identity) return;
      await write(record(last, ''), deadline, renewMs);
      log.info('lease released');
    } catch (error) {
      log.warn({ err: toAppError(error) }, 'the lease could not be released; it expires by itself');
    }
  }

  return {
    trouble: () => trouble,

    live() {
      const silentMs = clock.nowMs() - answeredMs;
      return silentMs < maxSilenceMs
        ? { ok: true, reason: 'ok' }
        : {
            ok: false,
            reason: `the API server has not answered about the lease for ${String(Math.round(silentMs / 1_000))} s`,
          };
    },

    async run(signal, lead) {
      while (!signal.aborted) {
        const beganMs = clock.nowMs();
        const lease = await acquire(signal).catch((error: unknown) => {
          if (signal.aborted) return undefined;
          trouble = troubleOf(error, leaseName);
          log.warn({ err: toAppError(error) }, 'the lease cannot be read or taken; trying again');
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
          // The lease is renewed until everything has stopped.
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

/** What callers are told while nobody can lead. */
function troubleOf(error: unknown, leaseName: string): AppError {
  const { message } = toAppError(error);
  const what =
    error instanceof KubeApiError
      ? `the Kubernetes API server refuses the Lease ${leaseName} of the agents: ${message}`
      : // The message of a failed call names the API server already.
        `no agent can lead, because the Kubernetes API server cannot be reached: ${message.replace(/^the API server cannot be reached: /, '')}`;
  return new AppError('platform_unavailable', what, { retryAfterMs: 1_000, cause: error });
}
