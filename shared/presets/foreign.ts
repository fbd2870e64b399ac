/** Reads the commands that other builders' files name: nixpacks.toml, railpack.json, vercel.json, netlify.toml, railway.json. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import type { PlanSettings } from './plan.ts';
import type { PresetTree } from './tree.ts';

export type ForeignSettings = Partial<Pick<PlanSettings, 'install' | 'build' | 'start' | 'output'>>;

const text = z
  .string()
  .max(4_096)
  .regex(/^[^\0\n\r]+$/)
  .optional()
  .catch(undefined);
const list = z.array(z.string()).optional().catch(undefined);
const commands = z.object({ cmds: list }).optional().catch(undefined);

const nixpacks = z
  .object({
    phases: z.object({ install: commands, build: commands }).optional().catch(undefined),
    start: z.object({ cmd: text }).optional().catch(undefined),
  })
  .transform(({ phases, start }): ForeignSettings => ({
    install: phases?.install?.cmds?.join(' && '),
    build: phases?.build?.cmds?.join(' && '),
    start: start?.cmd,
  }));

const railpack = z
  .object({ deploy: z.object({ startCommand: text }).optional().catch(undefined) })
  .transform(({ deploy }): ForeignSettings => ({ start: deploy?.startCommand }));

const railway = z
  .object({
    build: z.object({ buildCommand: text }).optional().catch(undefined),
    deploy: z.object({ startCommand: text }).optional().catch(undefined),
  })
  .transform(({ build, deploy }): ForeignSettings => ({ build: build?.buildCommand, start: deploy?.startCommand }));

const vercel = z
  .object({ installCommand: text, buildCommand: text, outputDirectory: text })
  .transform((file): ForeignSettings => ({
    install: file.installCommand,
    build: file.buildCommand,
    output: inner(file.outputDirectory),
  }));

const netlify = z
  .object({ build: z.object({ command: text, publish: text }).optional().catch(undefined) })
  .transform(({ build }): ForeignSettings => ({ build: build?.command, output: inner(build?.publish) }));

function inner(path: string | undefined): string | undefined {
  const plain = path?.replace(/^\.?\//, '').replace(/\/+$/, '');
  return plain === '' || plain === '.' || plain?.split('/').includes('..') === true ? undefined : plain;
}

type Reader = (source: string) => unknown;
const files: readonly { readonly file: string; readonly read: Reader; readonly schema: z.ZodType<ForeignSettings> }[] =
  [
    { file: 'nixpacks.toml', read: parse, schema: nixpacks },
    { file: 'railpack.json', read: JSON.parse, schema: railpack },
    { file: 'railway.json', read: JSON.parse, schema: railway },
    { file: 'railway.toml', read: parse, schema: railway },
    { file: 'vercel.json', read: JSON.parse, schema: vercel },
    { file: 'netlify.toml', read: parse, schema: netlify },
  ];

export interface ForeignFile {
  readonly file: string;
  readonly settings: ForeignSettings;
}

/** Returns the first file that says something. One that cannot be read says nothing: it is not ours. */
export async function readForeign(tree: PresetTree): Promise<ForeignFile | undefined> {
  for (const { file, read, schema } of files) {
    const source = await tree.read(file);
    if (source === undefined) continue;
    try {
      const settings = schema.parse(read(source));
      // `...` stands for the phases of the builder itself.
      const values = Object.values(settings).filter((value) => value !== undefined);
      if (values.length > 0 && !values.some((value) => value.includes('...'))) return { file, settings };
    } catch {
      continue;
    }
  }
  return undefined;
}
