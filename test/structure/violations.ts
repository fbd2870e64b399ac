/** The rules of the house, as a judgement of its files. */
import { circles } from './circles.ts';
import { type Layer, waitsByHand } from './layers.ts';
import type { SourceFile } from './source-file.ts';

export interface Rules {
  readonly layers: readonly Layer[];
  readonly readsEnvironment: readonly string[];
}

/** @returns one line for each violation, sorted; equal for equal trees, so that exceptions can name them. */
export function violations(files: readonly SourceFile[], rules: Rules): string[] {
  const found = files.flatMap((file) => [
    ...importsAgainstLayers(file, rules.layers),
    ...(isProduction(file.path) ? ofProduction(file, rules) : []),
  ]);
  for (const circle of circles(new Map(files.map(({ path, imports }) => [path, imports])))) {
    found.push(`circle: ${circle.join(' ')}`);
  }
  return found.toSorted();
}

function importsAgainstLayers(file: SourceFile, layers: readonly Layer[]): string[] {
  // Tests, kits and benches put the parts together as they need them.
  if (!isProduction(file.path)) return [];
  const own = layerOf(file.path, layers);
  if (own === undefined) return [`no layer: ${file.path}`];
  return file.imports.flatMap((imported) => {
    // package.json, for one.
    if (!/\.[cm]?[jt]s$/.test(imported)) return [];
    if (!isProduction(imported)) return [`test code: ${file.path} -> ${imported}`];
    const other = layerOf(imported, layers);
    if (other === own || (other !== undefined && own.mayImport.includes(other.path))) return [];
    if (other !== undefined && isShared(other) && !isShared(own)) return [];
    return [`layers: ${file.path} -> ${imported}`];
  });
}

function ofProduction(file: SourceFile, rules: Rules): string[] {
  const waits = isIn(file.path, waitsByHand);
  return [
    ...(file.readsEnvironment && !rules.readsEnvironment.some((place) => isIn(file.path, place))
      ? [`process.env: ${file.path}`]
      : []),
    ...(file.listensToAbort && !waits ? [`addEventListener('abort'): ${file.path}`] : []),
    ...(file.packages.includes('node:timers/promises') && !waits ? [`node:timers/promises: ${file.path}`] : []),
  ];
}

/** The most exact of the layers that a file belongs to. */
function layerOf(path: string, layers: readonly Layer[]): Layer | undefined {
  return layers.filter((layer) => isIn(path, layer.path)).toSorted((a, b) => precision(b) - precision(a))[0];
}

function precision({ path }: Layer): number {
  return path.endsWith('/*.ts') ? path.length - '/*.ts'.length : path.length;
}

function isIn(path: string, place: string): boolean {
  if (place.endsWith('/*.ts')) return path.slice(0, path.lastIndexOf('/')) === place.slice(0, -'/*.ts'.length);
  return path === place || path.startsWith(`${place}/`);
}

function isProduction(path: string): boolean {
  return !/^(test|bench)\/|(^|\/)testing\/|\.test\.ts$/.test(path);
}

function isShared({ path }: Layer): boolean {
  return path.split('/')[0] === 'shared';
}
