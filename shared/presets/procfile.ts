/** Reads the `web` line of a Procfile, which names the command of an app in any language. */
import { at, type PresetTree } from './tree.ts';

/** Returns the text of the `web` line of the Procfile in the folder of the app, or else in the root. */
export async function procfileLine(tree: PresetTree, dir: string): Promise<string | undefined> {
  for (const path of new Set([at(dir, 'Procfile'), 'Procfile'])) {
    const line = /^web[ \t]*:[ \t]*(\S.*)$/m.exec((await tree.read(path)) ?? '')?.[1]?.trim();
    if (line !== undefined) return line;
  }
  return undefined;
}

/** Puts `exec` before a single command, so that SIGTERM reaches the app instead of the shell. */
export function shellStart(text: string): readonly string[] {
  const isSimple =
    !/[;&|<>()`\n]|\$\(/.test(text) && !/^(?:\w+=|exec\b|cd\b|export\b|if\b|for\b|while\b|\.\s|source\b)/.test(text);
  return ['sh', '-c', isSimple ? `exec ${text}` : text];
}
