/**
 * Node flags for a router: a semi-space of 4 MiB. If much of a full semi-space of the default size (16 MiB) survives,
 * as it does for a snapshot of many routes, collecting it blocks the event loop for 10 to 20 ms. With 4 MiB it takes 2
 * to 5 ms, at the same cost per call (docs/benchmarks.md).
 */
export const routerNodeFlags: readonly string[] = ['--max-semi-space-size=4'];

/**
 * Node flags for an agent in a cluster. Loading the large Kubernetes client library leaves garbage in the heap that the
 * default policy keeps: an idle agent needs about 140 MB of memory with this flag, and 170 to 210 MB without it.
 */
export const agentNodeFlags: readonly string[] = ['--optimize-for-size'];
