/**
 * How Node is started for a router: a young generation of 4 MiB. A collection of a full one of the default size (16 MiB) holds
 * the loop up for 10 to 20 ms where much of it stays, as in a snapshot of many routes; this one for 2 to 5, at the same cost a call
 * (docs/benchmarks.md).
 */
export const routerNodeFlags: readonly string[] = ['--max-semi-space-size=4'];

/**
 * How Node is started for an agent in a cluster. The Kubernetes client library is large, and what loading it leaves behind
 * stays in a heap of the default policy: an idle agent needs about 140 MB of memory with this flag, and 170 to 210 without.
 */
export const agentNodeFlags: readonly string[] = ['--optimize-for-size'];
