/** Which Java a project asks for. */
import { type PlanRequest, misfit } from '../plan.ts';
import { toolVersions } from '../version-files.ts';
import { type PresetTree, at } from '../tree.ts';
import type { JavaProject } from './project.ts';

export interface JavaVersion {
  readonly major: number;
  readonly reason: string;
}

const preferred = 21;
/** Versions that get updates for years; the others have none any more, or soon. */
const longTerm = [8, 11, 17, 21, 25];

/** @throws AppError dockerfile_invalid if no image fits. */
export async function readJavaVersion(
  tree: PresetTree,
  dir: string,
  project: JavaProject,
  { settings }: PlanRequest,
): Promise<JavaVersion> {
  const folders = [...new Set([dir, ''])];
  const wanted: (readonly [string, string | undefined])[] = [['build.java', settings.versions['java']]];
  for (const folder of folders) {
    wanted.push(['.java-version', (await tree.read(at(folder, '.java-version')))?.trim()]);
    wanted.push([
      'system.properties',
      /^\s*java\.runtime\.version\s*=\s*(\S+)/m.exec((await tree.read(at(folder, 'system.properties'))) ?? '')?.[1],
    ]);
    wanted.push(['.sdkmanrc', /^\s*java\s*=\s*(\S+)/m.exec((await tree.read(at(folder, '.sdkmanrc'))) ?? '')?.[1]]);
  }
  wanted.push(...(await toolVersions(tree, folders, ['java'])), [
    project.tool === 'Maven' ? 'pom.xml' : 'build.gradle',
    inBuildFile(project),
  ]);
  for (const [file, text] of wanted) {
    const major = majorOf(text);
    if (major !== undefined) return fitting(major, file);
  }
  const most = newestFor(project.gradle);
  return { major: most, reason: `Java ${most}, since no file asks for another` };
}

function inBuildFile({ tool, text }: JavaProject): string | undefined {
  const patterns =
    tool === 'Maven'
      ? [
          /<maven\.compiler\.release>\s*([\d.]+)/,
          /<java\.version>\s*([\d.]+)/,
          /<release>\s*([\d.]+)/,
          /<maven\.compiler\.target>\s*([\d.]+)/,
          /<maven\.compiler\.source>\s*([\d.]+)/,
          /<(?:target|jdk\.version|javaVersion)>\s*([\d.]+)/,
        ]
      : [
          /JavaLanguageVersion\.of\(\s*["']?(\d+)/,
          /jvmToolchain\(\s*(\d+)/,
          /JavaVersion\.VERSION_(1_8|\d+)/,
          /(?:source|target)Compatibility\s*=\s*["']?([\d.]+)/,
          /options\.release(?:\.set\(|\s*=)\s*(\d+)/,
        ];
  return patterns.map((one) => one.exec(text)?.[1]).find((one) => one !== undefined);
}

function majorOf(text: string | undefined): number | undefined {
  const [, first, second] = /(\d+)(?:[._](\d+))?/.exec(text ?? '') ?? [];
  if (first === undefined) return undefined;
  return first === '1' ? Number(second) : Number(first);
}

/** An image with a newer Java builds and runs what is made for an older one, unless a build asks for exactly its version. */
function fitting(major: number, file: string): JavaVersion {
  const found = longTerm.includes(major) || major > 15 ? major : longTerm.find((one) => one >= major);
  if (found === undefined || !(major >= 5 && major <= 40)) {
    throw misfit(
      `${file} asks for Java ${major}, for which there is no image: the versions ${longTerm.join(', ')} have one. Change it, set \`java\` in [app.build], or give the app a Dockerfile`,
    );
  }
  return { major: found, reason: `${file}: Java ${major}${found === major ? '' : `, built and run with ${found}`}` };
}

/** The newest Java on which a version of Gradle itself runs. */
function newestFor(gradle: string | undefined): number {
  const [major = 99, minor = 0] = (gradle ?? '')
    .split('.')
    .filter((part) => part !== '')
    .map(Number);
  if (major < 5) return 8;
  if (major < 7 || (major === 7 && minor < 3)) return 11;
  if (major < 8 || (major === 8 && minor < 5)) return 17;
  return preferred;
}
