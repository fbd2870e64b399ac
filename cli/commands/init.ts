/** `holdfast init [DIR]`: writes the Dockerfile that a preset makes of a folder into it. */
import { stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { planFor } from '../../shared/presets/folder-plan.ts';
import { folderTree } from '../../shared/presets/folder-tree.ts';
import { type Plan, emptyRequest } from '../../shared/presets/plan.ts';
import { imageFiles } from '../../shared/presets/render/dockerfile.ts';
import { explained, foundIn } from '../../shared/presets/render/summary.ts';
import { type PresetName, presets } from '../../shared/protocol/build-settings.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { plain } from '../text.ts';

interface InitOptions {
  readonly preset?: PresetName;
  readonly force: boolean;
  readonly print: boolean;
}

export function initCommand(context: CliContext): Command {
  return new Command('init')
    .description('write a Dockerfile that suits a folder into it; nothing is uploaded')
    .argument('[dir]', 'the folder', '.')
    .addOption(new Option('--preset <preset>', 'use this preset instead of the detected one').choices(presets))
    .option('--force', 'overwrite existing files', false)
    .option('--print', 'show the plan and the files without writing them', false)
    .action(async (dir: string, options: InitOptions, command: Command) => {
      const folder = resolve(context.cwd, dir);
      const tree = folderTree(await existingFolder(folder, dir));
      const request = { ...emptyRequest, settings: { ...emptyRequest.settings, preset: options.preset } };
      const plan = await planFor(tree, request);
      const { dockerfile, files } = await imageFiles(tree, plan, request);
      const all = { Dockerfile: dockerfile, ...files };
      if (options.print) {
        context.stdout.write(printed(plan, all));
        return;
      }
      await writeAll(folder, all, options.force);
      const { output } = command.optsWithGlobals<{ output: 'table' | 'json' }>();
      const result = { folder, preset: plan.preset, found: foundIn(plan), files: Object.keys(all) };
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

function printed(plan: Plan, files: Readonly<Record<string, string>>): string {
  const plans = explained(plan).map((line) => plain(line));
  return [...plans, ...Object.entries(files).flatMap(([path, text]) => ['', `── ${path}`, text.trimEnd()]), ''].join(
    '\n',
  );
}
