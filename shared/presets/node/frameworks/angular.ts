/** Angular: a site in the folder that angular.json names, or a server beside it. */
import { z } from 'zod';
import type { NodeApp } from '../app.ts';
import { type Framework, pathOption } from './framework.ts';

const outputPath = z.union([z.string(), z.object({ base: z.string(), browser: z.string().optional() })]).optional();
const target = z.object({
  builder: z.string().optional(),
  executor: z.string().optional(),
  options: z.object({ outputPath, ssr: z.unknown(), server: z.unknown() }).partial().optional(),
});
const workspace = z.object({
  defaultProject: z.string().optional(),
  projects: z.record(
    z.string(),
    z.object({
      projectType: z.string().optional(),
      architect: z.record(z.string(), z.unknown()).optional(),
      targets: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
});

export const angular: Framework = {
  name: 'Angular',
  packages: ['@angular/core'],
  own: /^(?:ng|nx) (?:serve|s|run|start)\b|^ng$|^node dist\/[^ ]*server/,
  async plan(app) {
    const { base, browser, isServer } = await readOutput(app);
    const common = {
      build: ['ng', 'build'],
      overrides: true,
      ignored: ['dist', '**/.angular'],
      buildEnv: { NG_CLI_ANALYTICS: 'false' },
    };
    if (isServer) return { ...common, start: ['node', `${base}/server/server.mjs`] };
    return {
      ...common,
      basePath: pathOption('--base-href'),
      site: [browser === '' ? base : `${base}/${browser}`, base],
    };
  },
};

async function readOutput(app: NodeApp): Promise<{ base: string; browser: string; isServer: boolean }> {
  const text = (await app.read('angular.json')) ?? (await app.read('.angular-cli.json')) ?? '{}';
  const parsed = workspace.safeParse(json(text));
  const projects = parsed.success ? Object.entries(parsed.data.projects) : [];
  const wanted = parsed.success ? parsed.data.defaultProject : undefined;
  const [name, project] = projects.find(([one]) => one === wanted) ??
    projects.find(([, { projectType }]) => projectType !== 'library') ?? ['app', undefined];
  const build = target.safeParse((project?.architect ?? project?.targets)?.['build']);
  const { builder = '', executor = builder, options = {} } = build.success ? build.data : {};
  const isApplication = executor.endsWith(':application');
  const path = options.outputPath ?? `dist/${name}`;
  const base = (typeof path === 'string' ? path : path.base).replace(/\/$/, '');
  const browser = typeof path === 'string' ? 'browser' : (path.browser ?? 'browser');
  const hasServer = typeof options.ssr === 'object' && options.ssr !== null;
  return {
    base,
    browser: isApplication ? browser : '',
    isServer: isApplication && (hasServer || options.ssr === true),
  };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text.replaceAll(/^\s*\/\/.*$/gm, ''));
  } catch {
    return undefined;
  }
}
