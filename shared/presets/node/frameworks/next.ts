/** Next.js: a server, its standalone output, or a static export. */
import type { NodeApp } from '../app.ts';
import { setting } from '../app.ts';
import { commandsOf } from '../scripts.ts';
import { type Framework, type FrameworkPlan, pathSetting } from './framework.ts';

export const next: Framework = {
  name: 'Next.js',
  packages: ['next'],
  own: /^next (?:start|dev)\b/,
  async plan(app) {
    const config = await app.config('next.config');
    const folder = setting(config, 'distDir') ?? '.next';
    const output = setting(config, 'output');
    const isExported = output === 'export' || commandsOf(app.scripts, app.scripts['build'] ?? '').some((one) => one.startsWith('next export')); // prettier-ignore
    const common = {
      build: ['next', 'build'],
      ignored: ['**/.next', 'out'],
      basePath: pathSetting('next.config', 'basePath', isExported),
      buildEnv: { NEXT_TELEMETRY_DISABLED: '1' },
    };
    if (isExported) return { ...common, site: [folder === '.next' ? 'out' : folder, 'out'], overrides: true };
    if (output === 'standalone') return { ...common, ...standalone(app, folder) };
    return { ...common, start: startOf(app), overrides: true };
  },
};

/** A port in the script would hide PORT. */
function startOf({ scripts }: NodeApp): readonly string[] {
  const own = commandsOf(scripts, scripts['start'] ?? '').find((one) => /^next start\b/.test(one));
  const words = (own ?? 'next start').replace(/ (?:-p|--port)[ =]\S+/, '').split(/\s+/);
  return words.every((word) => /^[\w./:=@-]+$/.test(word)) ? words : ['next', 'start'];
}

function standalone({ dir }: NodeApp, folder: string): FrameworkPlan {
  const root = `${folder}/standalone`;
  // The server is at the app's own path in a workspace.
  const inner = dir === '' ? root : `${root}/${dir}`;
  const copies = `s='${inner}'; [ -f "$s/server.js" ] || s='${root}'; mkdir -p "$s/${folder}" && cp -R ${folder}/static "$s/${folder}/" && if [ -d public ]; then cp -R public "$s/"; fi`;
  return {
    afterBuild: [{ words: ['sh', '-c', copies], title: 'copy static files to the standalone server' }],
    start: ['node', `${inner}/server.js`],
    overrides: true,
    hostVariables: ['HOSTNAME'],
    standalone: [root],
  };
}
