/** Reads pyproject.toml and Pipfile. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import { type PresetTree, at } from '../tree.ts';

const names = z.record(z.string(), z.unknown());

const pyprojectSchema = z.object({
  project: z
    .object({
      name: z.string().optional(),
      dependencies: z.array(z.string()).optional(),
      dynamic: z.array(z.string()).optional(),
      'requires-python': z.string().optional(),
      scripts: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  'build-system': z.unknown().optional(),
  tool: z
    .object({
      poetry: z
        .object({
          name: z.string().optional(),
          dependencies: names.optional(),
          'package-mode': z.boolean().optional(),
          packages: z.unknown().optional(),
          scripts: names.optional(),
        })
        .optional(),
      uv: z
        .object({
          package: z.boolean().optional(),
          sources: names.optional(),
          workspace: z.object({ members: z.array(z.string()).optional() }).optional(),
        })
        .optional(),
      fastapi: z.object({ entrypoint: z.string().optional() }).optional(),
    })
    .optional(),
});

const pipfileSchema = z.object({
  packages: names.optional(),
  requires: z.object({ python_version: z.string().optional(), python_full_version: z.string().optional() }).optional(),
});

export type Pipfile = z.output<typeof pipfileSchema>;
export type Pyproject = z.output<typeof pyprojectSchema> & {
  readonly text: string;
  /** The range of Python that Poetry's own table asks for. */
  readonly poetryPython: string | undefined;
};

export interface PythonManifests {
  readonly pyproject: Pyproject | undefined;
  readonly pipfile: Pipfile | undefined;
}

/** @throws AppError source_invalid */
export async function readManifests(tree: PresetTree, dir: string): Promise<PythonManifests> {
  const pyproject = await readPyproject(tree, dir);
  const pipfile = await tree.read(at(dir, 'Pipfile'));
  return { pyproject, pipfile: pipfile === undefined ? undefined : parsed(pipfileSchema, pipfile, at(dir, 'Pipfile')) };
}

/** @throws AppError source_invalid */
export async function readPyproject(tree: PresetTree, dir: string): Promise<Pyproject | undefined> {
  const path = at(dir, 'pyproject.toml');
  const text = await tree.read(path);
  if (text === undefined) return undefined;
  const read = parsed(pyprojectSchema, text, path);
  const python = read.tool?.poetry?.dependencies?.['python'];
  return { ...read, text, poetryPython: typeof python === 'string' ? python : undefined };
}

function parsed<T>(schema: z.ZodType<T>, text: string, path: string): T {
  try {
    return schema.parse(parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : error instanceof Error ? error.message : '';
    throw new AppError('source_invalid', `${path} is not valid: ${why}`, { phase: 'source', cause: error });
  }
}
