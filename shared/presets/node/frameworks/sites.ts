/** Frameworks whose build makes a site: one row each, with the folder that they write unless their configuration names another. */
import type { NodeApp } from '../app.ts';
import { setting } from '../app.ts';
import { commandsOf } from '../scripts.ts';
import { type Framework, type FrameworkPlan, pathOption, pathSetting } from './framework.ts';

interface SiteRow {
  readonly name: string;
  readonly packages: readonly string[];
  /** Its command, for start scripts that are its own. */
  readonly program: string;
  readonly build: readonly string[];
  readonly output: string;
  /** The configuration file without its ending, and the key in it that names the folder. */
  readonly config?: readonly [file: string, key: string];
  /** The option of the build command that names the folder. */
  readonly option?: RegExp;
  readonly basePath?: FrameworkPlan['basePath'];
  readonly env?: Readonly<Record<string, string>>;
}

const rows: readonly SiteRow[] = [
  { name: 'Gatsby', packages: ['gatsby'], program: 'gatsby', build: ['gatsby', 'build'], output: 'public', env: { GATSBY_TELEMETRY_DISABLED: '1' }, basePath: pathSetting('gatsby-config', 'pathPrefix') },
  { name: 'Docusaurus', packages: ['@docusaurus/core'], program: 'docusaurus', build: ['docusaurus', 'build'], output: 'build', option: /--out-dir[ =](\S+)/, basePath: pathSetting('docusaurus.config', 'baseUrl') },
  { name: 'VuePress', packages: ['vuepress'], program: 'vuepress', build: ['vuepress', 'build', 'docs'], output: '.vuepress/dist', option: /(?:-d|--dest)[ =](\S+)/, basePath: pathSetting('docs/.vuepress/config', 'base') },
  { name: 'Eleventy', packages: ['@11ty/eleventy'], program: 'eleventy', build: ['eleventy'], output: '_site', option: /--output[ =](\S+)/, basePath: pathOption('--pathprefix') },
  { name: 'Hexo', packages: ['hexo'], program: 'hexo', build: ['hexo', 'generate'], output: 'public' },
  { name: 'Gridsome', packages: ['gridsome'], program: 'gridsome', build: ['gridsome', 'build'], output: 'dist', basePath: pathSetting('gridsome.config', 'pathPrefix') },
  { name: 'Create React App', packages: ['react-scripts', 'react-app-rewired', '@craco/craco'], program: 'react-scripts|react-app-rewired|craco', build: ['react-scripts', 'build'], output: 'build', option: /BUILD_PATH=['"]?([^'"\s]+)/, basePath: { variables: (path) => ({ PUBLIC_URL: path }), at: 'build', stripped: true } },
  { name: 'Vue CLI', packages: ['@vue/cli-service'], program: 'vue-cli-service', build: ['vue-cli-service', 'build'], output: 'dist', config: ['vue.config', 'outputDir'], option: /--dest[ =](\S+)/, basePath: pathSetting('vue.config', 'publicPath') },
  { name: 'Quasar', packages: ['quasar', '@quasar/app-vite'], program: 'quasar', build: ['quasar', 'build'], output: 'dist/spa', config: ['quasar.config', 'distDir'], basePath: pathSetting('quasar.config', 'publicPath') },
  { name: 'Stencil', packages: ['@stencil/core'], program: 'stencil', build: ['stencil', 'build'], output: 'www' },
  { name: 'Ember', packages: ['ember-cli'], program: 'ember', build: ['ember', 'build', '--environment=production'], output: 'dist', basePath: pathSetting('config/environment', 'rootURL') },
  { name: 'Preact CLI', packages: ['preact-cli'], program: 'preact', build: ['preact', 'build'], output: 'build' },
  { name: 'Slidev', packages: ['@slidev/cli'], program: 'slidev', build: ['slidev', 'build'], output: 'dist', basePath: pathOption('--base') },
  { name: 'Rsbuild', packages: ['@rsbuild/core'], program: 'rsbuild', build: ['rsbuild', 'build'], output: 'dist', config: ['rsbuild.config', 'root'], basePath: pathSetting('rsbuild.config', 'base') },
  { name: 'Storybook', packages: ['storybook'], program: 'storybook|start-storybook', build: ['storybook', 'build'], output: 'storybook-static', option: /(?:-o|--output-dir)[ =](\S+)/ },
  { name: 'Expo', packages: ['expo'], program: 'expo', build: ['expo', 'export', '--platform', 'web'], output: 'dist', option: /--output-dir[ =](\S+)/ },
  { name: 'Vite', packages: ['vite'], program: 'vite', build: ['vite', 'build'], output: 'dist', config: ['vite.config', 'outDir'], option: /--outDir[ =](\S+)/, basePath: pathOption('--base') },
  { name: 'Parcel', packages: ['parcel', 'parcel-bundler'], program: 'parcel', build: ['parcel', 'build', 'index.html'], output: 'dist', option: /(?:--dist-dir|-d|--out-dir)[ =](\S+)/, basePath: pathOption('--public-url') },
  { name: 'webpack', packages: ['webpack', 'webpack-cli'], program: 'webpack|webpack-dev-server', build: ['webpack', '--mode', 'production'], output: 'dist', option: /(?:--output-path|-o)[ =](\S+)/, basePath: pathOption('--output-public-path') },
]; // prettier-ignore

/** The others of their kind are searched here if their own folder has no index.html. */
const usual = ['dist', 'build', 'out', 'public'];

export const vitePress: Framework = {
  name: 'VitePress',
  packages: ['vitepress'],
  own: /^vitepress\b/,
  async plan(app) {
    const command = buildCommands(app).find((one) => /^vitepress build\b/.test(one)) ?? 'vitepress build';
    const root =
      /^vitepress build(?: +([\w./-]+))?/.exec(command)?.[1] ?? ((await app.has('docs/index.md')) ? 'docs' : '.');
    const folder = root === '.' ? '.vitepress' : `${root.replace(/\/$/, '')}/.vitepress`;
    const config = await app.config(`${folder}/config`);
    return {
      build: ['vitepress', 'build', ...(root === '.' ? [] : [root])],
      site: [setting(config, 'outDir')?.replace(/^\.\//, '') ?? `${folder}/dist`, `${folder}/dist`],
      overrides: true,
      basePath: pathOption('--base'),
    };
  },
};

export const sites: readonly Framework[] = rows.map((row) => ({
  name: row.name,
  packages: row.packages,
  own: new RegExp(`^(?:${row.program})\\b`),
  async plan(app) {
    const output = (await configured(app, row)) ?? (await eleventyOutput(app, row)) ?? row.output;
    return {
      build: row.build,
      site: await folders(app, row, output),
      overrides: true,
      ignored: [output],
      ...(row.env === undefined ? {} : { buildEnv: row.env }),
      ...(row.basePath === undefined ? {} : { basePath: row.basePath }),
    };
  },
}));

function buildCommands(app: NodeApp): string[] {
  return commandsOf(app.scripts, app.scripts['build'] ?? '');
}

async function configured(app: NodeApp, { config, option }: SiteRow): Promise<string | undefined> {
  const ofScript = option === undefined ? undefined : option.exec(buildCommands(app).join('\n'))?.[1];
  const ofConfig = config === undefined ? undefined : setting(await app.config(config[0]), config[1]);
  const path = (ofScript ?? ofConfig)?.replace(/^\.\//, '').replace(/\/+$/, '');
  // Outside of the app: a path from its root in Vite, whose configuration may have another root.
  return path === undefined || path === ''
    ? undefined
    : path.startsWith('../')
      ? path.replace(/^(?:\.\.\/)+/, '')
      : path;
}

async function eleventyOutput(app: NodeApp, { name }: SiteRow): Promise<string | undefined> {
  if (name !== 'Eleventy') return undefined;
  const config = `${await app.config('.eleventy')}${await app.config('eleventy.config')}`;
  return setting(config, 'output') ?? /setOutputDirectory\(['"]([^'"]+)['"]/.exec(config)?.[1];
}

async function folders(app: NodeApp, row: SiteRow, output: string): Promise<string[]> {
  if (row.name === 'VuePress') {
    const root = /vuepress build +([\w./-]+)/.exec(buildCommands(app).join('\n'))?.[1] ?? 'docs';
    return [`${root}/.vuepress/dist`, output];
  }
  // The sources of these are often in the folder `public`, so it is no place to look at.
  const others = usual.filter((folder) => folder !== output && folder !== 'public');
  const root = row.name === 'Vite' ? setting(await app.config('vite.config'), 'root') : undefined;
  const inner = root === undefined || root === '.' ? [] : [`${root.replace(/^\.\//, '')}/${output}`];
  return [output, ...inner, ...others];
}
