/** What explains a failed start: the last lines of the container, the last warning about the pod. */
import type { KubeApi } from '../../../kube/api.ts';
import type { PodFacts } from '../picture/facts.ts';
import type { Kinds } from '../../../kube/kinds.ts';
import { containerName } from '../manifests/container.ts';

const maxLines = 50;
const maxBytes = 8 * 1024;
const timeoutMs = 3_000;

/** Reasons of events by which autoscalers announce a node for a pod, and by which they say that none will come. */
const announcing: ReadonlySet<string> = new Set(['TriggeredScaleUp', 'Nominated']);
const refusing: ReadonlySet<string> = new Set(['NotTriggerScaleUp', 'FailedScaleUp', 'FailedToScaleUpGroup']);

export function createPodReports(deps: { readonly api: Pick<KubeApi, 'list' | 'log'>; readonly namespace: string }) {
  const { api, namespace } = deps;

  async function read(pod: PodFacts, previous: boolean, signal: AbortSignal): Promise<string[]> {
    const lines: string[] = [];
    const stream = api.log(
      { namespace, name: pod.name },
      { container: containerName, tailLines: maxLines, previous },
      { signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]), maxLineBytes: maxBytes },
    );
    for await (const line of stream) lines.push(line);
    return lines;
  }

  return {
    /** At most 50 lines and 8 KiB of the run of the container that failed last, or of the current one. Never throws. */
    async lastLines(pod: PodFacts, signal: AbortSignal): Promise<string[]> {
      // If the container runs again, the run that failed is the previous one.
      const order = pod.running && pod.exits > 0 ? [true, false] : [false, true];
      for (const previous of order) {
        try {
          const lines = await read(pod, previous, signal);
          if (lines.length > 0) return lastOf(lines);
        } catch {
          // There is no such run, or its log is gone: try the other one.
        }
      }
      return [];
    },
    /** What announces a node for a pod that no node has room for, as cluster-autoscaler and Karpenter say it; undefined if nothing does. */
    async scaleUp(pod: PodFacts, signal: AbortSignal): Promise<string | undefined> {
      if (pod.nominatedNode !== undefined) return `node ${pod.nominatedNode} is nominated for it`;
      try {
        const query = { fieldSelector: `involvedObject.uid=${pod.uid}`, limit: 100 };
        const { items } = await api.list('Event', namespace, query, { signal, timeoutMs });
        const said = items.filter(({ reason = '' }) => announcing.has(reason) || refusing.has(reason));
        const newest = said.toSorted((a, b) => timeOf(a).localeCompare(timeOf(b))).at(-1);
        if (newest === undefined || refusing.has(newest.reason ?? '')) return undefined;
        return `${newest.reason ?? ''}: ${newest.message ?? ''}`;
      } catch {
        return undefined;
      }
    },
    async lastWarning(pod: PodFacts, signal: AbortSignal): Promise<string | undefined> {
      try {
        const query = { fieldSelector: `involvedObject.uid=${pod.uid},type=Warning`, limit: 100 };
        const { items } = await api.list('Event', namespace, query, { signal, timeoutMs });
        const newest = items.toSorted((a, b) => timeOf(a).localeCompare(timeOf(b))).at(-1);
        return newest === undefined ? undefined : `${newest.reason ?? ''}: ${newest.message ?? ''}`;
      } catch {
        return undefined;
      }
    },
  };
}

export type PodReports = ReturnType<typeof createPodReports>;

function timeOf({ lastTimestamp, series, eventTime, metadata }: Kinds['Event']): string {
  return lastTimestamp ?? series?.lastObservedTime ?? eventTime ?? metadata.creationTimestamp ?? '';
}

function lastOf(lines: readonly string[]): string[] {
  let bytes = 0;
  let first = lines.length;
  while (first > 0 && lines.length - first < maxLines) {
    bytes += Buffer.byteLength(lines[first - 1] ?? '') + 1;
    if (bytes > maxBytes) break;
    first -= 1;
  }
  return lines.slice(first);
}
