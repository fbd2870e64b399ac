/**
 * How Node is started for a router: a young generation of 4 MiB. A collection of a full one of the default size (16 MiB) holds
 * the loop up for 10 to 20 ms where much of it stays, as in a snapshot of many routes; this one for 2 to 5, at the same cost a call
 * (docs/benchmarks.md).
 */
export const routerNodeFlags: readonly string[] = ['--max-semi-space-size=4'];
