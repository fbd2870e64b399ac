/** Which Python a project asks for. */
import { type PlanRequest, misfit } from '../plan.ts';
import { type PresetTree, at } from '../tree.ts';
import { firstLine, toolVersions } from '../version-files.ts';
import { allows, pick, seriesOf } from '../series.ts';
import type { PythonManifests } from './manifests.ts';

export interface PythonVersion {
  /** Major and minor number: `3.13`. */
  readonly series: string;
  /** Where it is from, such as `.python-version: Python 3.12`. */
  readonly reason: string;
  /** The versions that will do on a machine, the series itself first; undefined if any does. */
  readonly allowed: readonly string[] | undefined;
}

const preferred = '3.13';
const known = ['3.8', '3.9', '3.10', '3.11', '3.12', '3.13', '3.14'];

/** @throws AppError dockerfile_invalid if no image fits. */
export async function readPythonVersion(
  tree: PresetTree,
  dir: string,
  manifests: PythonManifests,
  { settings }: PlanRequest,
): Promise<PythonVersion> {
  const asked = settings.versions['python'];
  if (asked !== undefined) return versionFor(asked, 'build.python');
  for (const [file, text] of await wanted(tree, dir, manifests)) {
    // The name of a virtual environment of pyenv, or `system`, says nothing.
    if (text !== undefined && /\d/.test(text)) return versionFor(text, file);
  }
  return { series: preferred, reason: `Python ${preferred}, since no file asks for another`, allowed: undefined };
}

async function wanted(
  tree: PresetTree,
  dir: string,
  { pyproject, pipfile }: PythonManifests,
): Promise<readonly (readonly [string, string | undefined])[]> {
  const folders = [...new Set([dir, ''])];
  const files: [string, string | undefined][] = [];
  for (const folder of folders) {
    files.push(['.python-version', firstLine(await tree.read(at(folder, '.python-version')))]);
    files.push(['runtime.txt', firstLine(await tree.read(at(folder, 'runtime.txt')))]);
  }
  return [
    ...files,
    ...(await toolVersions(tree, folders, ['python'])),
    ['Pipfile', pipfile?.requires?.python_full_version ?? pipfile?.requires?.python_version],
    ['pyproject.toml', pyproject?.project?.['requires-python'] ?? pyproject?.poetryPython],
  ];
}

function versionFor(text: string, file: string): PythonVersion {
  if (/pypy|graalpy|jython|conda|stackless/i.test(text)) {
    throw misfit(
      `${file} asks for ${text}, and presets have CPython only: name a version such as 3.13, or give the app a Dockerfile`,
    );
  }
  const isRange = /[<>=~^*!,|]/.test(text);
  const series = isRange ? pick(text, known, preferred) : seriesOf(text, 2);
  if (series === '3') return { series: preferred, reason: `${file}: Python ${preferred}`, allowed: undefined };
  const minor = Number(/^3\.(\d+)$/.exec(series ?? '')?.[1]);
  if (series === undefined || !(minor >= 6)) {
    throw misfit(
      `${file} asks for Python ${JSON.stringify(text)}, for which there is no image: the versions from 3.6 have one (${preferred} is the default). Change it, set \`python\` in [app.build], or give the app a Dockerfile`,
    );
  }
  const others = isRange ? known.filter((one) => one !== series && allows(text, one)).toReversed() : [];
  return { series, reason: `${file}: Python ${series}`, allowed: [series, ...others] };
}
