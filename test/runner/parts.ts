/** The parts of `npm test`: which files, on which ground, how many at once. */

/**
 * What a part stands on. A cluster is a KUBECONFIG and a registry with the images of test/cluster/images; programs are those that
 * sources and builds are made with (git, sshd, buildah, docker-registry, python3, go …).
 */
export type Ground = 'helm' | 'postgres' | 'cluster' | 'programs';

export interface Part {
  readonly name: string;
  readonly files: readonly string[];
  readonly needs: readonly Ground[];
  /** Test files at once; what measures time has the machine for itself. */
  readonly concurrency: number;
  /** After which a file that hangs has failed. */
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
  {
    name: 'kubernetes',
    files: ['test/contract/kubernetes.test.ts', 'test/integration/kubernetes/*.test.ts'],
    needs: ['programs', 'cluster'],
    concurrency: 1,
    timeoutSecs: 900,
  },
  { name: 'e2e', files: ['test/e2e/**/*.test.ts'], needs: ['programs', 'cluster'], concurrency: 1, timeoutSecs: 1_800 },
];
