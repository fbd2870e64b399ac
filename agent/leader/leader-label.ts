/** The label by which the Service finds the leader: on the pod that leads and on no other. */
import type { V1Pod } from '@kubernetes/client-node';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { KubeApi } from '../kube/api.ts';

export interface LeaderLabel {
  /** Puts it on our pod and takes it off the others; tries until that worked or the signal aborts. Never throws. */
  claim(signal: AbortSignal): Promise<void>;
  /** Takes it off our pod; a few tries. Never throws. */
  clear(): Promise<void>;
}

const roleLabel = 'holdfast.dev/role';
const leaderRole = 'leader';
const instanceLabel = 'app.kubernetes.io/instance';
const agentSelector = 'app.kubernetes.io/component=agent';
const retryMs = 500;
const maxClearTries = 3;
const timeoutMs = 2_000;

export function createLeaderLabel(deps: {
  readonly api: Pick<KubeApi, 'list' | 'patch'>;
  readonly namespace: string;
  readonly podName: string;
  readonly log: Log;
  readonly clock: Clock;
}): LeaderLabel {
  const { api, namespace, podName, log, clock } = deps;

  /** @param role null removes the label. @returns undefined when there is no such pod. */
  async function setRole(pod: string, role: string | null, signal: AbortSignal): Promise<V1Pod | undefined> {
    const patch = { metadata: { labels: { [roleLabel]: role } } };
    return await api.patch('Pod', { namespace, name: pod }, patch, { signal, timeoutMs });
  }

  async function claimOnce(signal: AbortSignal): Promise<void> {
    const own = await setRole(podName, leaderRole, signal);
    if (own === undefined) {
      // An agent outside the cluster: no Service leads to it.
      log.debug({ podName }, 'no pod of this name, so no label of the leader');
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
    async claim(signal) {
      while (!signal.aborted) {
        try {
          await claimOnce(signal);
          return;
        } catch (error) {
          if (!signal.aborted) log.warn({ err: toAppError(error) }, 'the label of the leader is not set yet');
          await sleep(clock, retryMs, signal);
        }
      }
    },
    async clear() {
      const never = new AbortController().signal;
      for (let tries = 1; tries <= maxClearTries; tries += 1) {
        try {
          await setRole(podName, null, never);
          return;
        } catch (error) {
          log.warn({ err: toAppError(error) }, 'the label of the leader is not taken off yet');
          if (tries < maxClearTries) await sleep(clock, retryMs, never);
        }
      }
    },
  };
}
