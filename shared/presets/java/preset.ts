/** The preset `java`: Maven and Gradle; Spring Boot, Quarkus, Micronaut, Ktor, or any executable jar. */
import { needsTool } from '../machine-tools.ts';
import { type Plan, type PlanCommand, type PlanRequest, type Preset, command } from '../plan.ts';
import { type PresetTree, at, firstOf } from '../tree.ts';
import { type JavaProject, readJavaProject } from './project.ts';
import { type JavaVersion, readJavaVersion } from './version.ts';

/** Where the app is after the build, whatever its build names it. */
const out = '.holdfast-app';

export const javaFile = (tree: PresetTree): Promise<string | undefined> =>
  firstOf(tree, ['pom.xml', 'build.gradle', 'build.gradle.kts', 'settings.gradle', 'settings.gradle.kts']);

export const java: Preset = {
  async plan(tree, request): Promise<Plan> {
    const project = await readJavaProject(tree, request.settings.dir ?? '');
    const version = await readJavaVersion(tree, project.module, project, request);
    const { tool, module, framework } = project;
    return {
      preset: 'java',
      title: [framework, tool, `Java ${version.major}`].filter((one) => one !== undefined),
      reasons: [
        `${tool === 'Maven' ? 'pom.xml' : 'build.gradle'}: ${framework ?? 'a program'}, built by ${project.hasWrapper ? `the ${tool} wrapper` : tool}${module === '' ? '' : `, the module ${module}`}`,
        version.reason,
      ],
      notes: [],
      dir: '',
      binaries: [],
      build: {
        image: buildImage(project, version),
        systemPackages: [],
        env: tool === 'Gradle' ? { GRADLE_OPTS: '-Dorg.gradle.daemon=false' } : {},
        manifests: project.manifests,
        install: [
          needsTool('java', `a JDK ${version.major}`, javaCheck(version)),
          ...(project.hasWrapper ? [] : [needsTool(tool === 'Maven' ? 'mvn' : 'gradle', tool)]),
          fetch(project),
        ],
        build: [...compile(project), collect(project)],
        prune: [],
        installTexts: [project.text],
      },
      run: {
        image: `eclipse-temurin:${version.major}-jre`,
        systemPackages: [],
        // A heap of a quarter of the container's memory, Java's default, leaves most of it unused.
        env: { JAVA_TOOL_OPTIONS: '-XX:MaxRAMPercentage=75 -XX:+ExitOnOutOfMemoryError' },
        hostVariables: ['HOLDFAST_HOST'],
        fromBuild: [out],
        fromTree: [],
      },
      start: { kind: 'command', words: ['sh', '-c', `exec ${startCommand(project, request.route)}`] },
      ignored: ['**/target', '**/build', '**/.gradle', `**/${out}`, '**/*.class', '.idea', '**/bin'],
    };
  },
};

/** A newer Java of the machine will do. */
function javaCheck({ major }: JavaVersion): string {
  return `test "$(javac -version 2>&1 | sed -E 's/^javac (1\\.)?([0-9]+).*/\\2/')" -ge ${major}`;
}

function buildImage({ tool, hasWrapper }: JavaProject, { major }: JavaVersion): string {
  if (tool === 'Gradle' && hasWrapper) return `eclipse-temurin:${major}-jdk`;
  return tool === 'Maven' ? `maven:3-eclipse-temurin-${major}` : `gradle:jdk${major}`;
}

/** `sh`, since the mode of a wrapper is often lost on the way through other systems. */
function words({ tool, hasWrapper }: JavaProject): string[] {
  if (tool === 'Maven') return [...(hasWrapper ? ['sh', './mvnw'] : ['mvn']), '--batch-mode', '--no-transfer-progress'];
  return [...(hasWrapper ? ['sh', './gradlew'] : ['gradle']), '--no-daemon', '--console=plain'];
}

/** Fills the cache of a layer. What a build needs beyond is fetched later, so a failure here does not matter. */
function fetch(project: JavaProject): PlanCommand {
  const goal =
    project.tool === 'Maven'
      ? ['--quiet', '--fail-never', 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:go-offline']
      : ['--quiet', 'dependencies'];
  const text = `${[...words(project), ...goal].join(' ')} >/dev/null || true`;
  return { words: ['sh', '-c', text], title: 'fetch the dependencies', only: 'image' };
}

function compile(project: JavaProject): PlanCommand[] {
  const { tool, module, framework, mainClass, text } = project;
  if (tool === 'Maven') {
    const chosen = module === '' ? [] : ['--projects', module, '--also-make'];
    // An app without a jar of its own that has all: its libraries are put beside it.
    const copies =
      framework === undefined && mainClass !== undefined
        ? [
            'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies',
            '-DincludeScope=runtime',
            '-DoutputDirectory=target/holdfast-lib',
          ]
        : [];
    return [command(...words(project), ...chosen, '-DskipTests', 'package', ...copies)];
  }
  const prefix = module === '' ? '' : `:${module.replaceAll('/', ':')}:`;
  return [command(...words(project), `${prefix}${gradleTask(framework, text)}`)];
}

function gradleTask(framework: JavaProject['framework'], text: string): string {
  if (framework === 'Spring Boot') return 'bootJar';
  if (framework === 'Quarkus') return 'quarkusBuild';
  if (/\bshadow\b|com\.gradleup\.shadow/.test(text)) return 'shadowJar';
  if (framework === 'Ktor' && /io\.ktor\.plugin/.test(text)) return 'buildFatJar';
  if (/\bapplication\b|io\.micronaut\.application/.test(text)) return 'installDist';
  return 'assemble';
}

/** Puts the app where the start finds it: a Quarkus folder, a distribution of Gradle, or the jar that can be executed. */
function collect({ tool, module, framework, mainClass }: JavaProject): PlanCommand {
  const made = at(module, tool === 'Maven' ? 'target' : 'build');
  const jars = tool === 'Maven' ? `"${made}"/*.jar "${made}"/*.war` : `"${made}"/libs/*.jar`;
  const first =
    tool === 'Maven'
      ? `"${made}"/*-runner.jar "${made}"/*-with-dependencies.jar "${made}"/*-all.jar "${made}"/*-shaded.jar`
      : `"${made}"/libs/*-all.jar "${made}"/*-runner.jar`;
  const isFat = framework === undefined ? `test -n "${mainClass ?? ''}" -a -d "${made}/holdfast-lib"` : 'false';
  const text = [
    `rm -rf ${out}; mkdir ${out}`,
    `if [ -f "${made}/quarkus-app/quarkus-run.jar" ]; then cp -R "${made}/quarkus-app/." ${out}/ && mv ${out}/quarkus-run.jar ${out}/app.jar && exit 0; fi`,
    `for d in "${made}"/install/*; do if [ -d "$d/lib" ]; then cp -R "$d/." ${out}/ && rm -f ${out}/bin/*.bat && mv ${out}/bin/* ${out}/bin/app && exit 0; fi; done`,
    `for f in ${first} ${jars}; do case "$f" in *-sources.jar|*-javadoc.jar|*-tests.jar|*-plain.jar|*/original-*) continue;; esac`,
    `if [ -f "$f" ] && ( cd ${out} && jar xf "$OLDPWD/$f" META-INF/MANIFEST.MF 2>/dev/null && grep -q "^Main-Class:" META-INF/MANIFEST.MF ); then rm -rf ${out}/META-INF && cp "$f" ${out}/app.jar; break; fi; rm -rf ${out}/META-INF; done`,
    `if ${isFat} && { [ ! -f ${out}/app.jar ] || [ -n "$(ls "${made}/holdfast-lib")" ]; }; then cp -R "${made}/holdfast-lib" ${out}/lib; for f in ${jars}; do case "$f" in *-sources.jar|*-javadoc.jar|*-tests.jar|*/original-*) ;; *) if [ -f "$f" ]; then cp "$f" ${out}/lib/; fi;; esac; done; printf '%s' '${mainClass ?? ''}' > ${out}/main-class; fi`,
    `if [ ! -f ${out}/app.jar ] && [ ! -f ${out}/main-class ]; then echo "the build made no executable jar in ${made}: name a main class in the build file (Main-Class of the manifest), or set build and start in [app.build]" >&2; exit 1; fi`,
  ].join('; ');
  return { words: ['sh', '-c', text.replaceAll('esac; if', 'esac; if')], title: 'take the app' };
}

/** The options come first in the command line; a distribution of Gradle has a script that reads JAVA_OPTS. */
function startCommand({ tool, framework, mainClass, text }: JavaProject, route: PlanRequest['route']): string {
  const options = optionsOf(framework, route).join(' ');
  const isDistribution = tool === 'Gradle' && gradleTask(framework, text) === 'installDist';
  if (isDistribution) return `env JAVA_OPTS="${options} $JAVA_OPTS" ${out}/bin/app`;
  if (tool === 'Maven' && framework === undefined && mainClass !== undefined) {
    return `java ${options} $( [ -f ${out}/main-class ] && echo "-cp ${out}/lib/* $(cat ${out}/main-class)" || echo "-jar ${out}/app.jar" )`;
  }
  return `java ${options} -jar ${out}/app.jar`;
}

function optionsOf(framework: JavaProject['framework'], route: PlanRequest['route']): string[] {
  const address = (host: string, port: string): string[] => [`-D${host}=$HOLDFAST_HOST`, `-D${port}=$PORT`];
  const context = route !== undefined && !route.stripped && route.path !== '/' ? route.path : undefined;
  switch (framework) {
    case 'Spring Boot':
      return [
        ...address('server.address', 'server.port'),
        '-Dserver.forward-headers-strategy=framework',
        ...(context === undefined ? [] : [`-Dserver.servlet.context-path=${context}`]),
      ];
    case 'Quarkus':
      return [
        ...address('quarkus.http.host', 'quarkus.http.port'),
        '-Dquarkus.http.proxy.proxy-address-forwarding=true',
        '-Dquarkus.http.proxy.enable-forwarded-prefix=true',
        ...(context === undefined ? [] : [`-Dquarkus.http.root-path=${context}`]),
      ];
    case 'Micronaut':
      return [
        ...address('micronaut.server.host', 'micronaut.server.port'),
        ...(context === undefined ? [] : [`-Dmicronaut.server.context-path=${context}`]),
      ];
    case 'Helidon':
    case 'Ktor':
    case undefined:
      return address('server.host', 'server.port');
  }
}
