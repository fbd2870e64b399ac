/** `[registry]`: where images are, and how the agent proves who it is. */
import { z } from 'zod';

export const registry = z
  .strictObject({
    url: z
      .string()
      .regex(
        /^(https:\/\/)?[A-Za-z0-9.-]+(:\d{1,5})?\/?$/,
        'must be host, host:port or https://host; for plain http set insecure = true',
      )
      .transform((value) => value.replace(/^https:\/\//, '').replace(/\/$/, ''))
      .optional()
      .describe('Registry of the images, as `host` or `host:port`. Required in Kubernetes mode.'),
    insecure: z.boolean().default(false).describe('Speak plain HTTP with the registry.'),
    username: z.string().min(1).max(255).optional().describe('User of the registry.'),
    password: z.string().min(1).optional().describe('Password of the registry; better by password_file.'),
    password_file: z.string().min(1).optional().describe('File that holds the password.'),
    ca_file: z
      .string()
      .min(1)
      .optional()
      .describe('PEM file of the authority that signed the certificate of the registry.'),
    client_cert_file: z.string().min(1).optional().describe('PEM file of the client certificate for the registry.'),
    client_key_file: z.string().min(1).optional().describe('PEM file of the key of the client certificate.'),
    docker_config_file: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Docker config.json with credentials of further registries (base images, images of apps), or of this one.',
      ),
    auth: z
      .enum(['password', 'ecr'])
      .default('password')
      .describe('How to get credentials: username and password, or short-lived tokens of Amazon ECR.'),
    project: z
      .string()
      .regex(
        /^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*){0,5}$/,
        'must be lower-case path segments such as team/holdfast',
      )
      .max(200)
      .default('holdfast')
      .describe('Path in the registry under which built images (`app`) and their cache (`cache`) are.'),
    keep_versions: z
      .int()
      .min(1)
      .max(1_000)
      .default(10)
      .describe('Images of the newest versions of each app that are kept; older ones are deleted unless in use.'),
  })
  .refine((value) => (value.client_cert_file === undefined) === (value.client_key_file === undefined), {
    message: 'needs both client_cert_file and client_key_file',
    path: ['client_cert_file'],
  })
  .refine((value) => value.password === undefined || value.password_file === undefined, {
    message: 'is given too; give one of password and password_file',
    path: ['password_file'],
  })
  .prefault({})
  .describe('The container registry.');
