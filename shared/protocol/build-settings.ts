/** The keys of `[app.build]` and of `[build]` in a folder's holdfast.toml that change what a preset makes of a folder. */
import { z } from 'zod';

/** A path inside a source: relative and without `..`. */
export const innerPath = z
  .string()
  .min(1)
  .max(512)
  .regex(/^(?!\/)(?!.*(^|\/)\.\.?(\/|$))[^\0\\\n\r]+$/, 'must be a relative path without . and .. segments');

export const presets = ['node', 'bun', 'deno', 'python', 'go', 'ruby', 'java', 'php', 'rust', 'static'] as const;
export const presetName = z.enum(presets);
export type PresetName = z.output<typeof presetName>;

const version = z
  .string()
  .max(32)
  .regex(/^v?\d+(\.\d+){0,2}$/, 'must be a version in quotes, such as "22" or "3.12"')
  .transform((value) => value.replace(/^v/, ''))
  .optional();
const shellCommand = z
  .string()
  .max(4_096)
  .regex(/^[^\0\n\r]*$/, 'must be one line')
  .optional();

export const settingKeys = {
  preset: presetName
    .optional()
    .describe('Preset to use instead of a Dockerfile. Without it, a preset is chosen if there is no Dockerfile.'),
  dir: innerPath
    .optional()
    .describe(
      'Folder of the app in a workspace (monorepo). Everything above it is part of the build; compare `dir` of the app.',
    ),
  install: shellCommand.describe(
    'Shell command that installs dependencies instead of that of the preset. Empty: none.',
  ),
  build: shellCommand.describe('Shell command that builds instead of that of the preset. Empty: none.'),
  start: shellCommand.describe(
    'Shell command that starts the app instead of that of the preset. It listens on `$PORT`.',
  ),
  output: innerPath.optional().describe('Folder with an index.html that is served as a site after the build.'),
  spa: z
    .boolean()
    .optional()
    .describe(
      'Whether a site answers navigations to paths without a file with its index.html. Default: if it was built, and has one page and no 404.html.',
    ),
  system_packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9.+-]{0,63}(=[\w.+:~-]{1,64})?$/, 'must be the name of a package'))
    .max(64)
    .optional()
    .describe("Packages of the base image's distribution to install, for the build and at run time. In images only."),
  bun: version.describe('Version of Bun.'),
  deno: version.describe('Version of Deno.'),
  go: version.describe('Version of Go.'),
  java: version.describe('Version of Java.'),
  node: version.describe('Version of Node.js, such as "22". Default: what the files of the source ask for.'),
  php: version.describe('Version of PHP.'),
  python: version.describe('Version of Python, such as "3.12".'),
  ruby: version.describe('Version of Ruby.'),
  rust: version.describe('Version of Rust.'),
};

export const buildSettings = z.strictObject(settingKeys);
export type BuildSettings = z.output<typeof buildSettings>;
