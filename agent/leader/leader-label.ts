/** The label by which the Service finds the leader. It is on the pod that leads and on no other. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { retry, type Retry } from '../../shared/wait/retry.ts';
import type { KubeApi } from '../kube/api.ts';
import type { Kinds } from '../kube/kinds.ts';

const roleLabel = 'holdfast.dev/role';
const leaderRole = 'leader';
const instanceLabel = 'app.kubernetes.io/instance';
const agentSelector = 'app.kubernetes.io/component=agent';
const policy = { backoff: { minMs: 500, maxMs: 500 }, isPassing: () => true };
const maxClearAttempts = 3;
const timeoutMs = 2_000;

export function createLeaderLabel(deps: {
  readonly api: Pick<KubeApi, 'list' | 'patch'>;
  readonly namespace: string;
  readonly podName: string;
  readonly log: Log;
  readonly clock: Clock;
}) {
  const { api, namespace, podName, log, clock } = deps;

  /** @param role null removes the label. @returns undefined when there is no such pod. */
  async function setRole(pod: string, role: string | null, signal: AbortSignal): Promise<Kinds['Pod'] | undefined> {
    const patch = { metadata: { labels: { [roleLabel]: role } } };
    return await api.patch('Pod', { namespace, name: pod }, patch, { signal, timeoutMs });
  }

  async function claimOnce(signal: AbortSignal): Promise<void> {
    const own = await setRole(podName, leaderRole, signal);
    if (own === undefined) {
      // An agent outside the cluster: no Service routes to it.
      log.debug({ podName }, 'there is no pod of this name to put the leader label on');
      return;
    }
    const instance = own.metadata?.labels?.[instanceLabel];
    const selectors = [agentSelector, `${roleLabel}=${leaderRole}`];
    if (instance !== undefined) selectors.push(`${instanceLabel}=${instance}`);
    const query = { labelSelector: selectors.join(',') };
    const { items } = await api.list('Pod', namespace, query, { signal, timeoutMs });
    const others = items.map(({ metadata }) => metadata?.name ?? '').filter((name) => name !== podName);
    await Promise.all(others.map((name) => setRole(name, null, signal)));
  }

  return {
    /** Sets the label on our pod and removes it from the others. Tries until it succeeds or the signal aborts. Never throws. */
    async claim(signal: AbortSignal): Promise<void> {
      const onRetry = ({ error }: Retry): void => {
        log.warn({ err: toAppError(error) }, 'the leader label could not be set on this pod; trying again');
      };
      // Only the signal ends it.
      await retry(() => claimOnce(signal), { ...policy, clock, signal, onRetry }).catch(() => undefined);
    },
    /** Removes the label from our pod, in a few attempts. Never throws. */
    async clear(): Promise<void> {
      const { signal } = new AbortController();
      const warn = (error: unknown): void => {
        log.warn({ err: toAppError(error) }, 'the leader label could not be removed from this pod');
      };
      const options = {
        ...policy,
        attempts: maxClearAttempts,
        clock,
        signal,
        onRetry: ({ error }: Retry) => warn(error),
      };
      await retry(() => setRole(podName, null, signal), options).catch(warn);
    },
  };
}
