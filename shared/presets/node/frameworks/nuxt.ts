/** Nuxt, and the other frameworks whose server is built by Nitro. */
import type { NodeApp } from '../app.ts';
import { commandsOf } from '../scripts.ts';
import type { Framework, FrameworkPlan } from './framework.ts';

const nitroServer: FrameworkPlan = {
  start: ['node', '.output/server/index.mjs'],
  overrides: true,
  hostVariables: ['HOST', 'NITRO_HOST'],
  standalone: ['.output'],
  ignored: ['**/.output', '**/.nuxt', '**/.nitro', '**/.vinxi', '**/.tanstack'],
};

function builds(app: NodeApp, pattern: RegExp): boolean {
  return commandsOf(app.scripts, app.scripts['build'] ?? '').some((one) => pattern.test(one));
}

const nuxtPath = (path: string): Record<string, string> => ({ NUXT_APP_BASE_URL: `${path}/` });

export const nuxt: Framework = {
  name: 'Nuxt',
  packages: ['nuxt', 'nuxt3', 'nuxt-nightly'],
  own: /^(?:nuxt|nuxi) (?:start|dev|preview)\b|^node \.output\//,
  async plan(app) {
    const config = await app.config('nuxt.config');
    const isOld = /^[\^~]?[12]\./.test(app.dependencies['nuxt'] ?? '');
    if (builds(app, /^(?:nuxt|nuxi) generate\b/) || /preset\s*:\s*['"](?:static|github-pages)['"]/.test(config))
      return {
        site: isOld ? ['dist'] : ['.output/public', 'dist'],
        overrides: true,
        ignored: nitroServer.ignored ?? [],
        basePath: { variables: nuxtPath, at: 'build', stripped: true },
      };
    if (isOld) return { build: ['nuxt', 'build'], start: ['nuxt', 'start'], overrides: true, hostVariables: ['HOST'] };
    return {
      ...nitroServer,
      build: ['nuxt', 'build'],
      basePath: { variables: nuxtPath, at: 'run', stripped: false },
      buildEnv: { NITRO_PRESET: 'node-server', NUXT_TELEMETRY_DISABLED: '1' },
    };
  },
};

/** TanStack Start, SolidStart, Analog, Nitro itself: with Nitro the output is a server; without, only a script knows it. */
export const nitro: Framework = {
  name: 'Nitro',
  packages: ['nitropack', 'nitro', 'vinxi', '@solidjs/start', '@analogjs/platform'],
  own: /^(?:vinxi|nitro|nitropack|vite|ng) (?:start|dev|preview|serve)\b|^node \.output\//,
  async plan(app) {
    const isAnalog = app.dependencies['@analogjs/platform'] !== undefined;
    return {
      ...nitroServer,
      buildEnv: { NITRO_PRESET: 'node-server', SERVER_PRESET: 'node-server' },
      ...(isAnalog ? { start: ['node', 'dist/analog/server/index.mjs'], standalone: ['dist/analog'] } : {}),
    };
  },
};

export const tanstackStart: Framework = {
  name: 'TanStack Start',
  packages: ['@tanstack/react-start', '@tanstack/solid-start', '@tanstack/start'],
  own: /^(?:vinxi|vite) (?:start|dev|preview|serve)\b|^node \.output\//,
  async plan(app) {
    const config = `${await app.config('vite.config')}${await app.config('app.config')}`;
    const isOld = app.dependencies['vinxi'] !== undefined;
    const hasNitro = isOld || /\bnitro(?:V2Plugin)?\(/.test(config) || /target\s*:/.test(config);
    const buildEnv = { NITRO_PRESET: 'node-server', SERVER_PRESET: 'node-server' };
    if (hasNitro || app.dependencies['nitro'] !== undefined)
      return { ...nitroServer, build: ['vite', 'build'], buildEnv };
    // Without Nitro the output is a fetch handler, which srvx serves.
    const entry = 'dist/server/server.js';
    return {
      build: ['vite', 'build'],
      start: ['sh', '-c', `exec srvx --prod --port "\${PORT:-8080}" --host "$HOLDFAST_HOST" -s ../client ${entry}`],
      overrides: true,
      hostVariables: ['HOLDFAST_HOST'],
      afterBuild: [
        { words: ['npm', 'install', '--no-save', '--no-audit', '--no-fund', '--legacy-peer-deps', 'srvx@0'] },
      ],
      ignored: ['dist', '**/.tanstack'],
    };
  },
};
