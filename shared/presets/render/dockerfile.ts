/** Writes the Dockerfile of a plan. */
import { parseDockerignore } from '../../source/dockerignore.ts';
import { type BuildStage, type Plan, type Start, appUser, defaultPort } from '../plan.ts';
import type { PresetTree } from '../tree.ts';
import { copiesByFolder, copy, env, exec, run, runAll, workdir } from './instructions.ts';
import { siteFiles, siteStages } from './site.ts';

/** The name of a plan's Dockerfile in a build; the tree may have its own Dockerfile beside it. */
export const presetDockerfile = 'Dockerfile.holdfast';
/** Files that are never part of an image, with any preset. */
const alwaysIgnored = ['.git', '.holdfast', '**/.env', '**/.env.*', '**/.DS_Store', presetDockerfile];

export interface ImageFiles {
  readonly dockerfile: string;
  /** Further files of the build context by path: `.dockerignore`, and the configuration of nginx for a site. */
  readonly files: Readonly<Record<string, string>>;
}

/** @param args the names of build arguments and secrets. */
export async function imageFiles(
  tree: PresetTree,
  plan: Plan,
  args: Pick<BuildArgs, 'args' | 'secrets'>,
): Promise<ImageFiles> {
  const files = plan.start.kind === 'site' ? siteFiles(plan.start) : {};
  return {
    dockerfile: dockerfile(plan, args),
    files: { ...files, ...(await ignoreFile(tree, plan, Object.keys(files))) },
  };
}

interface BuildArgs {
  readonly args: readonly string[];
  readonly secrets: readonly string[];
}

function dockerfile(plan: Plan, args: BuildArgs): string {
  const { build, start } = plan;
  const lines = [
    // A line break in a name would start a new instruction.
    `# ${plan.title.join(', ').replaceAll(/\p{Cc}/gu, '?')}`,
    `# Written by Holdfast's preset "${plan.preset}"; \`holdfast init\` writes it into the folder, to be changed at will.`,
    ...(build === undefined ? [] : [...buildStage(plan, build, args), '']),
    ...(start.kind === 'site' ? siteStages(start, stageName(build)) : runStage(plan, start)),
  ];
  return `${lines.join('\n')}\n`;
}

function stageName(build: BuildStage | undefined): string | undefined {
  if (build === undefined) return undefined;
  return build.build.length > 0 ? 'build' : 'dependencies';
}

function buildStage(plan: Plan, build: BuildStage, args: BuildArgs): string[] {
  const { install, manifests } = build;
  const early = argsOfInstall(build, args);
  const late = [...args.args, ...args.secrets].filter((name) => !early.includes(name));
  const isWhole = manifests === 'tree';
  const needsTree = !isWhole && (build.build.length > 0 || build.prune.length > 0);
  return [
    `FROM ${build.image} AS ${stageName(build)}`,
    ...systemPackages(build.image, build.systemPackages),
    'WORKDIR /app',
    ...env({ ...build.env, ...searchPath(plan) }),
    ...early.map((name) => `ARG ${name}`),
    ...(isWhole ? ['COPY . ./'] : install.length > 0 ? copiesByFolder(manifests) : []),
    ...runAll(install),
    ...(needsTree ? ['COPY . ./'] : []),
    ...(build.build.length > 0 ? late.map((name) => `ARG ${name}`) : []),
    ...runAll([...build.build, ...build.prune]),
  ];
}

/** Variables that package managers read by themselves. */
const installVariables =
  /^(NPM|NODE_AUTH|YARN|PNPM|BUN|PIP|UV|POETRY|GO[A-Z]|CGO|BUNDLE|GEM|COMPOSER|CARGO|MAVEN|GRADLE|DENO|JSR)_?|^npm_config_|TOKEN|AUTH|^(HTTPS?|NO)_PROXY$/i;

/** An argument invalidates every layer after its `ARG`, so those that installing does not read come after it. */
function argsOfInstall(build: BuildStage, { args, secrets }: BuildArgs): string[] {
  const all = [...args, ...secrets];
  if (build.manifests === 'tree') return all;
  return all.filter((name) => installVariables.test(name) || build.installTexts?.some((text) => text.includes(name)));
}

function runStage(plan: Plan, start: Exclude<Start, { kind: 'site' }>): string[] {
  const { run: stage, dir } = plan;
  const name = stageName(plan.build);
  const hosts = Object.fromEntries(stage.hostVariables.map((variable) => [variable, '0.0.0.0']));
  const taken = (paths: readonly string[], from?: string): string[] =>
    paths.map((path) =>
      path === ''
        ? copy(from === undefined ? ['.'] : ['/app'], './', from)
        : copy([from === undefined ? path : `/app/${path}`], `./${path}${isFile(path) ? '' : '/'}`, from),
    );
  return [
    `FROM ${stage.image}`,
    ...systemPackages(stage.image, stage.systemPackages),
    ...runAll(stage.prepare ?? []),
    ...env({
      ...stage.env,
      ...hosts,
      HOME: '/tmp',
      PORT: String(defaultPort),
      ...(stage.image === 'scratch' ? {} : searchPath(plan)),
    }),
    ...(stage.fromBuildImage ?? []).map(({ from, to }) => copy([from], to, name)),
    'WORKDIR /app',
    ...(name === undefined ? [] : taken(stage.fromBuild, name)),
    ...taken(stage.fromTree),
    ...(dir === '' ? [] : [workdir(dir)]),
    '# A number, so that run_as_non_root can be checked; it may write to /tmp only.',
    `USER ${appUser}`,
    `EXPOSE ${defaultPort}`,
    ...(start.kind === 'command' ? [`CMD ${exec(start.words)}`] : []),
  ];
}

/** Paths in plans are folders unless their last segment has a dot inside. */
function isFile(path: string): boolean {
  return /[^/.][^/]*\.[^/]+$/.test(path);
}

function searchPath({ binaries }: Plan): Record<string, string> {
  return binaries.length === 0 ? {} : { PATH: `${binaries.map((path) => `/app/${path}`).join(':')}:$PATH` };
}

function systemPackages(image: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  if (/alpine|^composer:/.test(image)) return [run(['apk', 'add', '--no-cache', ...names])];
  return [
    `${run(['apt-get', 'update'], ['apt-get', 'install', '-y', '--no-install-recommends', ...names])} && rm -rf /var/lib/apt/lists/*`,
  ];
}

/** Returns the patterns of what no image and no upload of the plan has. */
export function ignoredBy(plan: Plan): readonly string[] {
  return [...alwaysIgnored, ...plan.ignored];
}

/** Returns a `.dockerignore`, unless the tree has its own that lets the generated files in. */
async function ignoreFile(tree: PresetTree, plan: Plan, generated: readonly string[]): Promise<Record<string, string>> {
  const own = await tree.read('.dockerignore');
  if (own === undefined) return { '.dockerignore': `${ignoredBy(plan).join('\n')}\n` };
  const rules = parseDockerignore(own);
  const hidden = generated.filter((path) => rules.ignores(path));
  if (hidden.length === 0) return {};
  return { '.dockerignore': `${own.trimEnd()}\n${hidden.map((path) => `!${path}`).join('\n')}\n` };
}
