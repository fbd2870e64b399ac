/** Names of Kubernetes objects in the configuration. */
import { z } from 'zod';

export const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'must be a Kubernetes name: a-z, 0-9, - and .');
