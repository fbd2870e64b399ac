/** Frameworks whose build makes a server, each in a few lines: Remix, React Router, Astro, NestJS, AdonisJS and others. */
import { setting } from '../app.ts';
import { type Framework, pathOption, pathSetting } from './framework.ts';

export const remix: Framework = {
  name: 'Remix',
  packages: ['@remix-run/dev'],
  own: /^(?:remix (?:dev|vite:dev)|remix-serve)\b/,
  async plan(app) {
    const config = await app.config('vite.config');
    const isVite = config !== '';
    const build = isVite ? ['remix', 'vite:build'] : ['remix', 'build'];
    const basePath = pathSetting('vite.config', 'basename', false);
    if (/\bssr\s*:\s*false/.test(config))
      return { build, site: ['build/client'], spa: true, overrides: true, basePath };
    return {
      build,
      basePath,
      start: ['remix-serve', isVite ? 'build/server/index.js' : 'build/index.js'],
      hostVariables: ['HOST'],
      ignored: ['build', 'public/build'],
    };
  },
};

export const reactRouter: Framework = {
  name: 'React Router',
  packages: ['@react-router/dev'],
  own: /^(?:react-router dev|react-router-serve)\b/,
  async plan(app) {
    const config = await app.config('react-router.config');
    const folder = setting(config, 'buildDirectory') ?? 'build';
    const build = ['react-router', 'build'];
    const basePath = pathSetting('react-router.config', 'basename', false);
    if (/\bssr\s*:\s*false/.test(config))
      return { build, site: [`${folder}/client`], spa: true, overrides: true, basePath };
    const start = ['react-router-serve', `${folder}/server/index.js`];
    return { build, start, basePath, hostVariables: ['HOST'], ignored: ['build', '**/.react-router'] };
  },
};

export const astro: Framework = {
  name: 'Astro',
  packages: ['astro'],
  own: /^astro (?:dev|preview|start)\b|^node (?:\.\/)?dist\/server\/entry\.mjs/,
  async plan(app) {
    const config = await app.config('astro.config');
    const folder = (setting(config, 'outDir') ?? 'dist').replace(/^\.\//, '').replace(/\/$/, '');
    const common = {
      build: ['astro', 'build'],
      ignored: ['dist', '**/.astro'],
      basePath: pathSetting('astro.config', 'base', false),
      buildEnv: { ASTRO_TELEMETRY_DISABLED: '1' },
    };
    if (config.includes('@astrojs/node') && !/mode\s*:\s*['"]middleware['"]/.test(config))
      return { ...common, start: ['node', `${folder}/server/entry.mjs`], overrides: true, hostVariables: ['HOST'] };
    if (/@astrojs\/(?:vercel|netlify|cloudflare)/.test(config)) {
      const missing =
        'astro.config has an adapter of another platform, which makes no server here: use @astrojs/node, or no adapter for a static site';
      return { ...common, site: [folder], overrides: true, notes: [missing] };
    }
    return { ...common, site: [folder], overrides: true, basePath: pathOption('--base') };
  },
};

export const nest: Framework = {
  name: 'NestJS',
  packages: ['@nestjs/core'],
  own: /^nest start\b/,
  async plan(app) {
    const script = app.scripts['start:prod'];
    const words = script === undefined || !/^node [\w./-]+$/.test(script) ? ['node', 'dist/main'] : script.split(' ');
    return { build: ['nest', 'build'], start: words, overrides: true, ignored: ['dist'] };
  },
};

export const adonis: Framework = {
  name: 'AdonisJS',
  packages: ['@adonisjs/core'],
  own: /^node (?:ace|bin\/server(?:\.js)?|build\/|server\.js)/,
  plan: async () => ({
    build: ['node', 'ace', 'build'],
    start: ['sh', '-c', 'cd build && exec node bin/server.js'],
    overrides: true,
    hostVariables: ['HOST'],
    ignored: ['build'],
  }),
};

export const strapi: Framework = {
  name: 'Strapi',
  packages: ['@strapi/strapi'],
  own: /^strapi (?:develop|dev|start)\b/,
  plan: async () => ({
    build: ['strapi', 'build'],
    start: ['strapi', 'start'],
    overrides: true,
    hostVariables: ['HOST'],
  }),
};
