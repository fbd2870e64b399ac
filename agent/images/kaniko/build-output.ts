/** The output of a build: the lines of both containers, masked and cut. It keeps the last ones for the verdict. */
import { stripVTControlCharacters } from 'node:util';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import type { KubeApi } from '../../kube/api.ts';
import type { BuildPodFacts, ContainerFacts } from './build-facts.ts';
import { followContainerLog, type ContainerLog } from './container-log.ts';
import { containers } from './job.ts';

/** Bound of a line in bytes of UTF-8, as `BuildOptions.onLine` promises. */
const maxLineBytes = 4_096;
const keptLines = 400;

export function createBuildOutput(deps: {
  readonly api: Pick<KubeApi, 'log'>;
  readonly namespace: string;
  readonly mask: (line: string) => string;
  readonly onLine: (line: string) => void;
  readonly log: Log;
  readonly clock: Clock;
}) {
  const { mask, ...shared } = deps;
  const kept: string[] = [];
  const logs = new Map<string, { readonly follower: ContainerLog; end: Promise<void> | undefined }>();

  function onLine(raw: string): void {
    // A progress bar overwrites its line: only what it showed last counts.
    const shown = raw.replace(/\r+$/, '').split('\r').at(-1) ?? '';
    const line = cut(mask(stripVTControlCharacters(shown)));
    kept.push(line);
    if (kept.length > keptLines) kept.shift();
    deps.onLine(line);
  }

  function start(pod: string, container: string, facts: ContainerFacts): void {
    const key = `${pod}/${container}`;
    if (!facts.running && facts.ended === undefined) return;
    const one = logs.get(key) ?? {
      follower: followContainerLog({ ...shared, pod, container, onLine }),
      end: undefined,
    };
    if (facts.ended !== undefined) one.end ??= one.follower.finish();
    logs.set(key, one);
  }

  return {
    /** Follows the containers of the pod that have started by now. */
    follow(pod: BuildPodFacts): void {
      start(pod.name, containers.fetch, pod.fetch);
      start(pod.name, containers.build, pod.build);
    },
    /** Reads the rest of the pod's logs, within seconds. */
    async finish(): Promise<void> {
      await Promise.all([...logs.values()].map((one) => (one.end ??= one.follower.finish())));
    },
    /** The last `count` lines, newest last. */
    lastLines: (count: number) => kept.slice(-count),
    async close(): Promise<void> {
      await Promise.all([...logs.values()].map((one) => one.follower.close()));
      for (const { end } of logs.values()) await end;
    },
  };
}

export type BuildOutput = ReturnType<typeof createBuildOutput>;

function cut(line: string): string {
  if (line.length * 3 <= maxLineBytes || Buffer.byteLength(line) <= maxLineBytes) return line;
  // A character that the cut has split is left out.
  return Buffer.from(line)
    .subarray(0, maxLineBytes)
    .toString('utf8')
    .replace(/\uFFFD+$/, '');
}
