/** The labels of the objects that Holdfast makes, and the name under which it applies them. */
export const labels = {
  managedBy: 'app.kubernetes.io/managed-by',
  app: 'holdfast.dev/app',
  version: 'holdfast.dev/version',
  /** Name of the Deployment that a pod belongs to; Deployments select by it. */
  workload: 'holdfast.dev/workload',
} as const;

export const manager = 'holdfast';
