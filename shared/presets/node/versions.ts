/** Which Node.js an app asks for. */
import type { Language } from '../versions.ts';
import type { Manifest } from './manifest.ts';

export const nodeLanguage: Language = {
  key: 'node',
  name: 'Node',
  tools: ['nodejs', 'node'],
  files: ['.nvmrc', '.node-version'],
  lines: ['24', '22', '20', '18', '16', '14', '25', '23', '21', '19'],
  aliases: {
    node: '24',
    latest: '24',
    stable: '24',
    current: '24',
    lts: '24',
    'lts/*': '24',
    'lts/krypton': '24',
    'lts/jod': '22',
    'lts/iron': '20',
    'lts/hydrogen': '18',
    'lts/gallium': '16',
    'lts/fermium': '14',
  },
};

/** What package.json says, of the app and then of the root. */
export function declaredVersions(
  manifests: readonly (readonly [path: string, manifest: Manifest])[],
): readonly { readonly text: string; readonly from: string }[] {
  return manifests.flatMap(([path, { volta, engines, devEngines }]) => {
    const runtime = devEngines?.runtime;
    const found = [
      [volta['node'], 'volta'],
      [engines['node'], 'engines'],
      [runtime?.name === 'node' ? runtime.version : undefined, 'devEngines'],
    ] as const;
    return found.flatMap(([text, key]) => (text === undefined ? [] : [{ text, from: `${path} ${key}` }]));
  });
}
