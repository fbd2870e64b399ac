/** `[registry]`: where images are stored, and how the agent authenticates. */
import { z } from 'zod';
import { integer } from '../../shared/number-keys.ts';
import { optionalText, text, valueOrFile } from './keys.ts';

const registryHost = z
  .string()
  .regex(
    /^(https:\/\/)?[A-Za-z0-9.-]+(:\d{1,5})?\/?$/,
    'must be host, host:port or https://host; for plain http set insecure = true',
  )
  .transform((value) => value.replace(/^https:\/\//, '').replace(/\/$/, ''));

export const registry = z
  .strictObject({
    url: registryHost
      .optional()
      .describe('Registry of the images: `host` or `host:port`. Required with `container_command = "kubernetes"`.'),
    insecure: z.boolean().default(false).describe('Use plain HTTP for the registry.'),
    username: text(255).optional().describe('User name at the registry.'),
    password: optionalText('Password at the registry; prefer password_file.'),
    password_file: optionalText('File that contains the password.'),
    ca_file: optionalText('PEM file of the certificate authority of the registry.'),
    client_cert_file: optionalText('PEM file of the client certificate for the registry.'),
    client_key_file: optionalText('PEM file of the private key of the client certificate.'),
    docker_config_file: optionalText(
      'Docker config.json with credentials for this registry or others (base images, images of apps).',
    ),
    auth: z
      .enum(['password', 'ecr'])
      .default('password')
      .describe(
        'How the agent authenticates: `password` (username and password) or `ecr` (short-lived tokens of Amazon ECR).',
      ),
    project: z
      .string()
      .regex(
        /^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*){0,5}$/,
        'must be lower-case path segments such as team/holdfast',
      )
      .max(200)
      .default('holdfast')
      .describe('Path in the registry for built images (`<project>/app`) and cached layers (`<project>/cache`).'),
    keep_versions: integer([1, 1_000], 10).describe(
      'How many of the newest versions of each app keep their images. Older images are deleted unless they are in use.',
    ),
  })
  .refine((value) => (value.client_cert_file === undefined) === (value.client_key_file === undefined), {
    message: 'needs both client_cert_file and client_key_file',
    path: ['client_cert_file'],
  })
  .refine(...valueOrFile('password'))
  .prefault({})
  .describe('The container registry.');

/** `[[registries]]`: further registries, from which images of apps come. */
export const furtherRegistry = z
  .strictObject({
    host: registryHost.describe('Registry as image names have it: `host` or `host:port`.'),
    insecure: z.boolean().default(false).describe('Use plain HTTP for the registry.'),
    username: z.string().min(1).max(255).optional().describe('User name at the registry.'),
    password: optionalText('Password at the registry; prefer password_file.'),
    password_file: optionalText('File that contains the password.'),
    ca_file: optionalText('PEM file of the certificate authority of the registry.'),
  })
  .refine(...valueOrFile('password'))
  .refine((value) => value.username !== undefined || (value.password ?? value.password_file) === undefined, {
    message: 'is required with a password',
    path: ['username'],
  })
  .refine((value) => !value.insecure || value.ca_file === undefined, {
    message: 'has no effect with insecure = true',
    path: ['ca_file'],
  });
