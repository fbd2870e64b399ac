/** Reads package.json. What is malformed in keys that decide nothing is ignored; a file that is not JSON is refused. */
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import { at, type PresetTree } from '../tree.ts';

const table = z
  .record(z.string(), z.unknown())
  .transform((all) =>
    Object.fromEntries(
      Object.entries(all).flatMap(([key, value]) => (typeof value === 'string' ? [[key, value] as const] : [])),
    ),
  )
  .catch({});
const words = z.array(z.string()).catch([]);
const named = z.object({ name: z.string(), version: z.string().optional() });
/** `devEngines` has one or several. */
const engine = z.union([named, z.array(named).transform(([first]) => first)]).optional();

const packageJson = z.object({
  name: z.string().optional().catch(undefined),
  main: z.string().optional().catch(undefined),
  module: z.string().optional().catch(undefined),
  type: z.string().optional().catch(undefined),
  scripts: table.default({}),
  dependencies: table.default({}),
  devDependencies: table.default({}),
  optionalDependencies: table.default({}),
  engines: table.default({}),
  volta: table.default({}),
  devEngines: z.object({ runtime: engine, packageManager: engine }).optional().catch(undefined),
  packageManager: z.string().optional().catch(undefined),
  workspaces: z
    .union([z.array(z.string()), z.object({ packages: words }).transform(({ packages }) => packages)])
    .optional()
    .catch(undefined),
  pnpm: z.record(z.string(), z.unknown()).optional().catch(undefined),
});
export type Manifest = z.output<typeof packageJson>;

export const emptyManifest: Manifest = packageJson.parse({});

/** @throws AppError source_invalid, naming the file. */
export async function readManifest(tree: PresetTree, folder: string): Promise<Manifest | undefined> {
  const path = at(folder, 'package.json');
  const source = await tree.read(path);
  if (source === undefined) return undefined;
  try {
    return packageJson.parse(JSON.parse(source.replace(/^\uFEFF/, '')));
  } catch (error) {
    const why = error instanceof SyntaxError ? `: ${error.message}` : '';
    throw new AppError('source_invalid', `${path} is not valid${why}`, { phase: 'source', cause: error });
  }
}

/** All packages that the app depends on, with their ranges. */
export function allDependencies(manifest: Manifest): Readonly<Record<string, string>> {
  return { ...manifest.devDependencies, ...manifest.optionalDependencies, ...manifest.dependencies };
}

/** Returns the first number of a range, such as `15` of `^15.1.0`; undefined for `latest` or a URL. */
export function majorOf(range: string | undefined): string | undefined {
  return /^(?:npm:.*@)?[\^~>=v\s]*(\d+)/.exec(range ?? '')?.[1];
}
