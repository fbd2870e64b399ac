/** The parts of `npm test`: their files, what they need, and how many files run at once. */

/**
 * What a part needs. `cluster` is a KUBECONFIG and a registry with the images of test/cluster/images; `programs` are the tools
 * behind sources and builds (git, sshd, buildah, docker-registry, python3, go …).
 */
export type Ground = 'helm' | 'postgres' | 'cluster' | 'programs';

export interface Part {
  readonly name: string;
  readonly files: readonly string[];
  readonly needs: readonly Ground[];
  /** Test files that run at once. Parts that measure time run one file at a time. */
  readonly concurrency: number;
  /** A test file that runs longer than this has failed. */
  readonly timeoutSecs: number;
}

export const parts: readonly Part[] = [
  {
    name: 'unit',
    files: ['{router,agent,builder,shared,cli}/**/*.test.ts', 'test/docs/*.test.ts', 'test/structure/*.test.ts'],
    needs: ['programs'],
    concurrency: 2,
    timeoutSecs: 300,
  },
  { name: 'chart', files: ['test/chart/*.test.ts'], needs: ['helm'], concurrency: 2, timeoutSecs: 300 },
  { name: 'contract', files: ['test/contract/process.test.ts'], needs: [], concurrency: 1, timeoutSecs: 600 },
  {
    name: 'integration',
    files: ['test/integration/*.test.ts', 'test/integration/{store,build,source,idle}/*.test.ts'],
    needs: ['programs', 'postgres'],
    concurrency: 1,
    timeoutSecs: 900,
  },
  // Repositories that are installed and built for real, two at a time.
  {
    name: 'repositories',
    files: ['test/repositories/*.test.ts'],
    needs: ['programs'],
    concurrency: 1,
    timeoutSecs: 1_200,
  },
  {
    name: 'kubernetes',
    files: ['test/contract/kubernetes.test.ts', 'test/integration/kubernetes/*.test.ts'],
    needs: ['programs', 'cluster'],
    concurrency: 1,
    timeoutSecs: 900,
  },
  { name: 'e2e', files: ['test/e2e/**/*.test.ts'], needs: ['programs', 'cluster'], concurrency: 1, timeoutSecs: 1_800 },
];
