/** Reads what Maven and Gradle builds say. The files are searched as text: only the build tools can evaluate them. */
import { misfit } from '../plan.ts';
import { type PresetTree, allOf, at, firstOf, foldersIn } from '../tree.ts';

export type JavaTool = 'Maven' | 'Gradle';
export type JavaFramework = 'Spring Boot' | 'Quarkus' | 'Micronaut' | 'Ktor' | 'Helidon' | undefined;

export interface JavaProject {
  readonly tool: JavaTool;
  readonly hasWrapper: boolean;
  /** The version of Gradle that the wrapper fetches. */
  readonly gradle: string | undefined;
  /** The folder of the module that is started; `''` is the root. */
  readonly module: string;
  readonly framework: JavaFramework;
  /** The text of the module's build file, and of the root's. */
  readonly text: string;
  readonly mainClass: string | undefined;
  readonly manifests: readonly string[];
}

const gradleFiles = ['build.gradle.kts', 'build.gradle'];
const settingsFiles = ['settings.gradle.kts', 'settings.gradle'];
const maxModules = 200;

/** @throws AppError dockerfile_invalid */
export async function readJavaProject(tree: PresetTree, dir: string): Promise<JavaProject> {
  const isMaven = await tree.has('pom.xml');
  const isGradle = (await firstOf(tree, [...gradleFiles, ...settingsFiles])) !== undefined;
  if (!isMaven && !isGradle) throw misfit('there is neither a pom.xml nor a build.gradle: add one');
  // With both, the one that has a wrapper is in use.
  const tool = isMaven && !(isGradle && (await tree.has('gradlew')) && !(await tree.has('mvnw'))) ? 'Maven' : 'Gradle';
  return tool === 'Maven' ? readMaven(tree, dir) : readGradle(tree, dir);
}

interface Module {
  readonly folder: string;
  readonly text: string;
}

async function readMaven(tree: PresetTree, dir: string): Promise<JavaProject> {
  const modules: Module[] = [];
  await collectPoms(tree, '', modules);
  const root = modules[0]?.text ?? '';
  const chosen =
    dir === ''
      ? (modules.find(({ text }) => isBootPlugin(text) && !isParent(text)) ??
        modules.find(({ text }) => !isParent(text) && hasMain(text)) ??
        modules.findLast(({ text }) => !isParent(text)) ??
        modules[0])
      : modules.find(({ folder }) => folder === dir);
  if (chosen === undefined) throw misfit(`${at(dir, 'pom.xml')} is not one of the modules of pom.xml`);
  const text = chosen.folder === '' ? root : `${chosen.text}\n${root}`;
  const framework = frameworkOf(chosen.text, text);
  if (/<packaging>\s*war\s*<\/packaging>/.test(chosen.text) && framework === undefined)
    throw war(at(chosen.folder, 'pom.xml'));
  return {
    tool: 'Maven',
    hasWrapper: await tree.has('mvnw'),
    gradle: undefined,
    module: chosen.folder,
    framework,
    text,
    mainClass: /<(?:mainClass|exec\.mainClass|start-class|main\.class)>\s*([\w.$]+)\s*</.exec(chosen.text)?.[1],
    manifests: await allOf(tree, [
      ...modules.map(({ folder }) => at(folder, 'pom.xml')),
      'mvnw',
      '.mvn/wrapper/maven-wrapper.properties',
      '.mvn/wrapper/maven-wrapper.jar',
      '.mvn/maven.config',
      '.mvn/jvm.config',
      '.mvn/extensions.xml',
    ]),
  };
}

async function collectPoms(tree: PresetTree, folder: string, modules: Module[]): Promise<void> {
  const text = (await tree.read(at(folder, 'pom.xml')))?.replaceAll(/<!--[\s\S]*?-->/g, '');
  if (text === undefined || modules.length >= maxModules || modules.some((one) => one.folder === folder)) return;
  modules.push({ folder, text });
  for (const [, name = ''] of text.matchAll(/<module>\s*([\w./-]+?)\/?\s*<\/module>/g)) {
    if (!name.includes('..')) await collectPoms(tree, at(folder, name), modules);
  }
}

const isParent = (text: string): boolean => /<packaging>\s*pom\s*<\/packaging>/.test(text);
const isBootPlugin = (text: string): boolean =>
  /spring-boot-maven-plugin|quarkus-maven-plugin|micronaut-maven-plugin/.test(text);
const hasMain = (text: string): boolean =>
  /<(?:mainClass|exec\.mainClass|start-class)>|maven-shade-plugin|maven-assembly-plugin/.test(text);

async function readGradle(tree: PresetTree, dir: string): Promise<JavaProject> {
  const settings = (await readFirst(tree, '', settingsFiles)) ?? '';
  const included = [...settings.matchAll(/["']:?([\w.:/-]+)["']/g)].map(([, name = '']) => name.replaceAll(':', '/'));
  const folders = ['', ...included, ...(await foldersIn(tree, '')).filter((name) => settings.includes(name))];
  const modules: Module[] = [];
  for (const folder of [...new Set(folders)].slice(0, maxModules)) {
    const text = await readFirst(tree, folder, gradleFiles);
    if (text !== undefined) modules.push({ folder, text });
  }
  const starts = (text: string): boolean =>
    /spring[.-]?boot["')\s]|org\.springframework\.boot|io\.quarkus|io\.micronaut\.application|io\.ktor\.plugin|\bapplication\b|shadow/.test(
      text.replaceAll(/apply\s+false/g, '').replaceAll(/^.*apply\(?\s*false.*$/gm, ''),
    );
  const chosen =
    dir === ''
      ? (modules.find(
          ({ text }) =>
            starts(text) &&
            /mainClass|org\.springframework\.boot|quarkus|micronaut/.test(text) &&
            !/apply\s*\(?\s*false/.test(text),
        ) ??
        modules.find(({ text }) => starts(text)) ??
        modules[0])
      : modules.find(({ folder }) => folder === dir);
  if (chosen === undefined) throw misfit(`${dir === '' ? 'the root' : dir} has no build.gradle or build.gradle.kts`);
  const catalog = (await tree.read('gradle/libs.versions.toml')) ?? '';
  const root = modules[0]?.text ?? '';
  const text = [
    chosen.text,
    ...(chosen.folder === '' ? [] : [root]),
    /\blibs\.plugins\b/.test(chosen.text) ? catalog : '',
  ].join('\n');
  const framework = frameworkOf(chosen.text, text);
  if (/(?:id\s*\(?\s*["']war["']|^\s*war\s*$)/m.test(chosen.text) && framework === undefined) throw war('build.gradle');
  const wrapper = await tree.read('gradle/wrapper/gradle-wrapper.properties');
  const builds = ['build.gradle', 'build.gradle.kts'];
  return {
    tool: 'Gradle',
    hasWrapper: (await tree.has('gradlew')) && wrapper !== undefined,
    gradle: /gradle-(\d+(?:\.\d+)*)/.exec(wrapper ?? '')?.[1],
    module: chosen.folder,
    framework,
    text,
    mainClass: /mainClass(?:Name)?(?:\.set\(|\s*=)\s*["']([\w.$]+)["']/.exec(chosen.text)?.[1],
    manifests: await allOf(tree, [
      ...settingsFiles,
      ...modules.flatMap(({ folder }) => builds.map((file) => at(folder, file))),
      'gradle.properties',
      'gradle/libs.versions.toml',
      'gradlew',
      'gradle/wrapper/gradle-wrapper.properties',
      'gradle/wrapper/gradle-wrapper.jar',
    ]),
  };
}

async function readFirst(tree: PresetTree, folder: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    const text = await tree.read(at(folder, name));
    if (text !== undefined) return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
  }
  return undefined;
}

function frameworkOf(own: string, text: string): JavaFramework {
  if (/spring-boot|org\.springframework\.boot/.test(own) || /springBoot|spring-boot-starter/.test(text))
    return 'Spring Boot';
  if (/io\.quarkus/.test(text)) return 'Quarkus';
  if (/io\.micronaut/.test(text)) return 'Micronaut';
  if (/io\.ktor/.test(text)) return 'Ktor';
  if (/io\.helidon/.test(text)) return 'Helidon';
  return undefined;
}

function war(file: string) {
  return misfit(
    `${file} makes a war, which needs an application server: make an executable jar (Spring Boot and others do), or give the app a Dockerfile on the image of your server, such as tomcat:10`,
  );
}
