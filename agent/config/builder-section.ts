/** `[builder]`: how images are built from sources. */
import { z } from 'zod';
import { tokenValue } from '../../shared/config/sections.ts';
import { decimal, integer } from '../../shared/number-keys.ts';
import { optionalText, text, valueOrFile } from './keys.ts';

/** The name of a Kubernetes object. */
export const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'must be a Kubernetes name: a-z, 0-9, - and .');

export const builder = z
  .strictObject({
    mode: z
      .union([z.enum(['kaniko', 'none']), z.string().regex(/^delegate:https?:\/\/[^\s/]+(\/\S*)?$/)], {
        error: 'must be kaniko, delegate:<url> or none',
      })
      .default('kaniko')
      .describe(
        'How images are built on Kubernetes: `kaniko` (as Jobs), `delegate:<url>` (by a `holdfast builder serve`) or `none`.',
      ),
    kaniko_image: text(512)
      .default('ghcr.io/osscontainertools/kaniko:v1.28.2')
      .describe('Image of the Kaniko executor.'),
    fetch_image: text(512)
      .optional()
      .describe(
        'Image of Holdfast, which the init container of a build uses to fetch the build context. Required for Kaniko.',
      ),
    agent_url: z
      .string()
      .regex(/^https?:\/\/[^\s/]+$/, 'must be a URL without path, such as http://holdfast-agent:7400')
      .optional()
      .describe('URL at which build pods reach the leading agent. Required for Kaniko.'),
    builder_auth_token: tokenValue
      .optional()
      .describe('Bearer token of a delegated builder; prefer builder_auth_token_file.'),
    builder_auth_token_file: optionalText('File that contains the token of a delegated builder.'),
    ca_file: optionalText('PEM file of the certificate authority of a delegated builder.'),
    max_concurrent_builds: integer([1, 100], 2).describe('Builds that run at the same time; others are queued.'),
    max_queued_builds: integer([1, 10_000], 200).describe('Builds that may be queued.'),
    timeout_secs: decimal([10, 86_400], 1_800).describe('Timeout of one build, seconds.'),
    retry_secs: decimal([0, 3_600], 60).describe(
      'How long a build is retried while the registry, the builder or the git server is unavailable, seconds.',
    ),
    unschedulable_grace_secs: decimal([0, 3_600], 60).describe(
      'How long a build pod may be unschedulable before the build fails, seconds.',
    ),
    ttl_secs: integer([0, 604_800], 600).describe('How long the Job of a failed build is kept, seconds.'),
    cache: z.boolean().default(true).describe('Cache layers in `<project>/cache` of the registry.'),
    registry_mirrors: z
      .array(z.string().regex(/^[A-Za-z0-9.-]+(:\d{1,5})?(\/[a-z0-9._/-]+)?$/, 'must be host, host:port or host/path'))
      .max(16)
      .default([])
      .describe('Mirrors of Docker Hub that base images are pulled from.'),
    insecure_registries: z
      .array(z.string().regex(/^[A-Za-z0-9.-]+(:\d{1,5})?$/, 'must be host or host:port'))
      .max(16)
      .default([])
      .describe('Further registries for base images that are reached by plain HTTP.'),
    args: z
      .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,252}$/), z.string().max(4_096))
      .default({})
      .describe('Build arguments of every build, such as HTTPS_PROXY. A change does not cause a rebuild.'),
    cpus: z.string().max(32).default('500m').describe('CPU request of a build.'),
    memory: z.string().max(32).default('2Gi').describe('Memory limit of a build; the request is a quarter of it.'),
    node_selector: z
      .record(z.string().max(317), z.string().max(63))
      .default({})
      .describe('Node labels that build pods require.'),
    tolerations: z
      .array(
        z.strictObject({
          key: z.string().max(317).optional(),
          operator: z.enum(['Exists', 'Equal']).optional(),
          value: z.string().max(63).optional(),
          effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
        }),
      )
      .max(32)
      .default([])
      .describe('Tolerations of build pods.'),
    image_pull_secrets: z
      .array(kubernetesName)
      .max(16)
      .default([])
      .describe("Image pull secrets of build pods, in the agent's namespace."),
  })
  .refine(...valueOrFile('builder_auth_token'))
  .prefault({})
  .describe('How images are built from sources. Used with `container_command = "kubernetes"`.');
