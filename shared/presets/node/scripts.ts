/** What scripts of package.json run: development servers, watchers, servers of files, and the tools that they need. */
import { type Scripts, unnested } from './start.ts';

/** Programs that serve sources as a developer edits them: their output is built and served instead. */
const devServers = [
  /^vite(?: *$| (?:dev|serve)\b| +-)/,
  /^(?:next|nuxt|nuxi|astro|vitepress|vuepress|remix|react-router|svelte-kit|vinxi|vike|rsbuild|farm|waku|rspress|slidev|wrangler|docz|umi|max|modern|ice|expo|turbo|quasar|gatsby|gridsome|tsup|solid-start|nitro|nitropack|storybook) +(?:dev|develop|start-dev|run dev)\b/,
  /^(?:ng|vue-cli-service|webpack|rspack|ember|stencil|ionic|nx|hexo|preact|jekyll|hugo|gitbook) +(?:serve|server|s|watch)\b/,
  /^(?:react-scripts|react-app-rewired|craco|docusaurus|expo|gatsby|webpack-cli|umi|ice|rescripts) +(?:start|serve-dev)\b/,
  /^(?:webpack-dev-server|live-server|browser-sync|lite-server|start-storybook|nuxt|nuxi dev|snowpack(?: dev)?|budo|vuepress|slidev)(?: |$)(?!build|generate|start)/,
  /^parcel +(?!build)\S/,
  /^(?:eleventy|@11ty\/eleventy).* --serve\b/,
  /^rollup .*(?:-w|--watch)\b/,
];
/** Programs that serve a built site; nginx does so instead. */
const fileServers =
  /^(?:serve|http-server|sirv|live-server|vite preview|astro preview|gatsby serve|docusaurus serve|vitepress (?:serve|preview)|ng serve|nuxt preview|nuxi preview|static-server|local-web-server|ws|react-inject-env)\b/;
/** Words before the program itself. */
const wrappers =
  /^(?:env|exec|npx|bunx|cross-env|cross-env-shell|dotenv|dotenvx|env-cmd|time|nice|[A-Za-z_]\w*=\S*|-\S+|--|run|pnpm|dlx)$/;

/** Returns the commands of a script, with scripts that it names in their place: `a && npm run b` is two or more. */
export function commandsOf(scripts: Scripts, text: string, depth = 0): string[] {
  return text.split(/&&|\|\||[;|&\n]/).flatMap((part) => {
    const one = part.trim();
    if (one === '') return [];
    const inner = unnested(scripts, one);
    return inner === one || depth > 8 ? [one] : commandsOf(scripts, inner, depth + 1);
  });
}

/** Removes assignments and wrappers: `cross-env A=1 next start` is `next start`. */
export function bare(text: string): string {
  const words = text.trim().split(/\s+/);
  const at = words.findIndex((word) => !wrappers.test(word));
  return at < 0 ? '' : words.slice(at).join(' ');
}

export function isDevServer(scripts: Scripts, text: string): boolean {
  return commandsOf(scripts, text).some((one) => devServers.some((pattern) => pattern.test(bare(one))));
}

export function servesFiles(scripts: Scripts, text: string): boolean {
  const commands = commandsOf(scripts, text);
  return commands.length > 0 && fileServers.test(bare(commands.at(-1) ?? ''));
}

/** Turns a command that restarts on changes into the one that it runs: `nodemon app.js` is `node app.js`. */
export function unwatched(text: string): string {
  const script = text.trim();
  const inner = /^nodemon\b.*?(?:-x|--exec)[ =](?:"([^"]+)"|'([^']+)'|(\S+))(.*)$/.exec(script);
  if (inner !== null) return `${inner[1] ?? inner[2] ?? inner[3]}${inner[1] === undefined && inner[2] === undefined ? (inner[4] ?? '') : ''}`.trim(); // prettier-ignore
  const nodemon = /^nodemon(?: +(?:-[a-zA-Z-]+(?: +[\w.,]+(?=\s+\S+\.\w+))?))*(?: +(\S+\.[cm]?[jt]s\b.*|\S+))?$/.exec(
    script,
  );
  if (nodemon !== null) return `node ${nodemon[1] ?? '.'}`;
  return script
    .replace(/^(tsx) watch\b/, '$1')
    .replace(/^(node\b.*?) --watch(?:-path=\S+|-preserve-output)?/, '$1')
    .replace(/^(?:ts-node-dev|tsnd)\b(?: --(?:respawn|transpile-only|clear|inspect|poll|quiet|exit-child))*/, 'ts-node')
    .replace(/^(bun(?: run)?) --(?:watch|hot)\b/, '$1')
    .replace(/^(deno run\b.*?) --watch(?:=\S+)?/, '$1');
}

/** Names of programs that packages bring, where they differ from the package's own. */
const programs: Readonly<Record<string, readonly string[]>> = {
  typescript: ['tsc'],
  '@nestjs/cli': ['nest'],
  '@babel/node': ['babel-node'],
  '@angular/cli': ['ng'],
  'npm-run-all': ['npm-run-all', 'run-s', 'run-p'],
  'npm-run-all2': ['npm-run-all', 'npm-run-all2', 'run-s', 'run-p'],
  'dotenv-cli': ['dotenv'],
  '@dotenvx/dotenvx': ['dotenvx'],
  '@remix-run/dev': ['remix'],
  '@remix-run/serve': ['remix-serve'],
  '@react-router/dev': ['react-router'],
  '@react-router/serve': ['react-router-serve'],
  '@vue/cli-service': ['vue-cli-service'],
  'sequelize-cli': ['sequelize', 'sequelize-cli'],
  '@adonisjs/assembler': ['ace'],
  '@strapi/strapi': ['strapi'],
  'cross-env': ['cross-env', 'cross-env-shell'],
  nuxt: ['nuxt', 'nuxi'],
  '@prisma/cli': ['prisma'],
  '@swc-node/register': ['@swc-node/register'],
};

/** Returns the programs, and the modules that node loads before (`-r`, `--import`), of a script. */
export function toolsOf(scripts: Scripts, text: string): Set<string> {
  const tools = new Set<string>();
  for (const one of commandsOf(scripts, text)) {
    const words = one.split(/\s+/);
    // Wrappers are tools as well.
    for (const word of words) {
      if (/^(?:cross-env(?:-shell)?|dotenvx?|env-cmd|npm-run-all2?|run-[sp]|concurrently)$/.test(word)) tools.add(word);
    }
    for (const [, module] of one.matchAll(/(?:-r|--require|--import|--loader|--experimental-loader)[ =](\S+)/g)) {
      const name = /^(@[^/]+\/[^/]+|[^./@][^/]*)/.exec(module ?? '')?.[1];
      if (name !== undefined) tools.add(name);
    }
    const program = bare(one).split(' ')[0] ?? '';
    if (program !== '') tools.add(program);
    const names = /^(?:run-[sp]|npm-run-all2?|concurrently)\b(.*)$/.exec(bare(one))?.[1] ?? '';
    for (const name of names.split(/[\s"']+/)) {
      const script = scripts[name.replace(/^npm:/, '')];
      if (script !== undefined && script !== text) for (const tool of toolsOf(scripts, script)) tools.add(tool);
    }
  }
  return tools;
}

/** Whether one of the packages brings one of the tools. */
export function bringsTool(packages: Iterable<string>, tools: ReadonlySet<string>): boolean {
  for (const name of packages) {
    const own = programs[name] ?? [name.split('/').at(-1) ?? name];
    if ([name, ...own].some((program) => tools.has(program))) return true;
  }
  return false;
}
