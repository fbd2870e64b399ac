/** SvelteKit: the adapter in its configuration decides what comes out. */
import { setting } from '../app.ts';
import { type Framework, pathSetting } from './framework.ts';

export const svelteKit: Framework = {
  name: 'SvelteKit',
  packages: ['@sveltejs/kit'],
  own: /^(?:vite|svelte-kit) (?:preview|dev)\b|^vite$|^node (?:\.\/)?build(?:\/index\.js)?$/,
  async plan(app) {
    const config = await app.config('svelte.config');
    const common = { build: ['vite', 'build'], ignored: ['**/.svelte-kit', 'build'] };
    if (config.includes('@sveltejs/adapter-static')) {
      const fallback = setting(config, 'fallback');
      const folder = setting(config, 'pages') ?? 'build';
      return {
        ...common,
        site: [folder],
        basePath: pathSetting('svelte.config', 'base'),
        overrides: true,
        ...(fallback === undefined ? {} : { spa: fallback === 'index.html' }),
      };
    }
    const isNode = config.includes('@sveltejs/adapter-node');
    const folder = setting(config, 'out') ?? 'build';
    return {
      ...common,
      start: ['node', folder],
      basePath: pathSetting('svelte.config', 'base', false),
      overrides: true,
      hostVariables: ['HOST'],
      // The router says what callers used; without it forms are refused as if they came from another site.
      env: { PROTOCOL_HEADER: 'x-forwarded-proto', HOST_HEADER: 'x-forwarded-host' },
      // With this variable, adapter-auto takes the adapter for node, and installs it.
      ...(isNode ? {} : { buildEnv: { GCP_BUILDPACKS: 'TRUE' } }),
      expects: {
        file: `${folder}/index.js`,
        missing:
          'svelte.config.js has no adapter that makes a server or a site: use @sveltejs/adapter-node or @sveltejs/adapter-static',
      },
    };
  },
};
