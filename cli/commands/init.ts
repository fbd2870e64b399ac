/** `holdfast init [DIR]`: writes the Dockerfile that a preset makes of a folder into it. */
import { stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { detectPreset, noPreset, presetFiles } from '../../shared/presets/detect.ts';
import { folderTree } from '../../shared/presets/folder-tree.ts';
import { type PresetName, presets } from '../../shared/protocol/app-spec.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { plain } from '../text.ts';

interface InitOptions {
  readonly preset?: PresetName;
  readonly force: boolean;
}

export function initCommand(context: CliContext): Command {
  return new Command('init')
    .description('write a Dockerfile that suits a folder into it; nothing is uploaded')
    .argument('[dir]', 'the folder', '.')
    .addOption(new Option('--preset <preset>', 'use this preset instead of the detected one').choices(presets))
    .option('--force', 'overwrite existing files', false)
    .action(async (dir: string, options: InitOptions, command: Command) => {
      const folder = resolve(context.cwd, dir);
      const tree = folderTree(await existingFolder(folder, dir));
      const preset = options.preset ?? (await detectPreset(tree));
      if (preset === undefined) throw noPreset();
      const { dockerfile, files, found } = await presetFiles(preset, tree);
      const all = { Dockerfile: dockerfile, ...files };
      await writeAll(folder, all, options.force);
      const { output } = command.optsWithGlobals<{ output: 'table' | 'json' }>();
      const result = { folder, preset, found, files: Object.keys(all) };
      context.stdout.write(output === 'json' ? `${JSON.stringify(result, null, 2)}\n` : resultText(result));
    });
}

/** @throws UsageError */
export async function existingFolder(folder: string, shown: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) throw new UsageError(`${shown} is not a folder`);
  return folder;
}

/** All or, where one of them is there, none. @throws UsageError */
async function writeAll(folder: string, files: Readonly<Record<string, string>>, force: boolean): Promise<void> {
  const paths = Object.keys(files);
  const there: string[] = [];
  for (const path of force ? [] : paths) if ((await stat(join(folder, path)).catch(() => undefined)) !== undefined) there.push(path); // prettier-ignore
  if (there.length > 0) {
    throw new UsageError(`${there.join(', ')} ${there.length === 1 ? 'exists' : 'exist'} already; --force overwrites`);
  }
  for (const [path, text] of Object.entries(files)) {
    await writeFile(join(folder, path), text, force ? {} : { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`cannot write ${path} (${error.code ?? error.message})`);
    });
  }
}

function resultText(result: {
  readonly preset: PresetName;
  readonly found: readonly string[];
  readonly files: readonly string[];
}): string {
  return [
    `Found: ${result.preset} (${result.found.map(plain).join('; ')})`,
    ...result.files.map((path) => `Wrote: ${path}`),
    'Edit it as you like. `holdfast deploy` uses it from now on.',
    '',
  ].join('\n');
}
