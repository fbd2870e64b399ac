/** Deploys a folder: which of its files are the source, the upload, and the declaration of the app that builds it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../shared/command/exit-code.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { findPlan, recipeFor } from '../shared/presets/folder-plan.ts';
import { folderTree } from '../shared/presets/folder-tree.ts';
import { explained } from '../shared/presets/render/summary.ts';
import { planRequest } from '../shared/presets/settings.ts';
import { type BuildSpec, sourceRules } from '../shared/presets/source-rules.ts';
import type { DeclaredAppInput } from '../shared/protocol/app-spec.ts';
import type { PresetName } from '../shared/protocol/build-settings.ts';
import type { AppView } from '../shared/protocol/views.ts';
import { countLeftOut, type SourceSummary, summaryText } from '../shared/source/left-out.ts';
import { defaultSourceLimits } from '../shared/source/limits.ts';
import { type PackedFolder, packFolder } from '../shared/source/pack.ts';
import type { SourceRules } from '../shared/source/tree-walk.ts';
import { systemClock } from '../shared/wait/clock.ts';
import type { AgentEndpoint } from './endpoint.ts';
import type { Session } from './session.ts';
import { plain } from './text.ts';
import { transferProgress } from './transfer-progress.ts';
import { uploadArchive } from './upload.ts';

/** What the command line says about the app. */
export interface DeployChoice {
  readonly app: string;
  readonly path?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly preset?: PresetName;
  readonly dockerfile?: string;
}

/** The most files in left-out folders that are counted; counting them takes about half a second. */
const maxCounted = 100_000;

export interface CheckedFolder {
  /** The rules by which files of the folder are chosen. */
  readonly rules: SourceRules;
  /** How it is built, line by line; empty if a Dockerfile says so. */
  readonly explained: readonly string[];
}

/** Checks before the upload that the folder can be built. @throws UsageError, AppError dockerfile_invalid, source_invalid */
export async function checkFolder(
  folder: string,
  options: DeployChoice,
  existing: AppView | undefined,
): Promise<CheckedFolder> {
  const tree = folderTree(folder);
  const spec = buildSpecOf(options, existing);
  const { dockerfile, preset } = spec.build;
  const path = options.path ?? existing?.spec.path;
  const request = planRequest({ ...spec, path, config: existing?.spec.config });
  const rules = await sourceRules(folder, spec);
  if (dockerfile !== 'Dockerfile' && preset === undefined && !(await tree.has(dockerfile)))
    throw new UsageError(`the folder has no ${dockerfile}`);
  if (request.hasCommand && !(await tree.has(dockerfile)) && (await findPlan(tree, request)) === undefined)
    return { rules, explained: [] };
  const recipe = await recipeFor(tree, dockerfile, request);
  return { rules, explained: recipe.kind === 'dockerfile' ? [] : explained(recipe.plan).map(plain) };
}

/** How the app will be built. */
export function buildSpecOf(options: DeployChoice, existing: AppView | undefined): BuildSpec {
  const { dockerfile, preset } = buildOf(options, existing);
  const { command, build_secrets = {}, build = { args: {} } } = existing?.spec ?? {};
  return { command, build_secrets, build: { ...build, dockerfile, preset } };
}

function buildOf(options: DeployChoice, existing: AppView | undefined): { dockerfile: string; preset?: PresetName } {
  const before = existing?.spec.build;
  if (options.preset !== undefined) return { dockerfile: before?.dockerfile ?? 'Dockerfile', preset: options.preset };
  if (options.dockerfile !== undefined) return { dockerfile: options.dockerfile };
  return {
    dockerfile: before?.dockerfile ?? 'Dockerfile',
    ...(before?.preset === undefined ? {} : { preset: before.preset }),
  };
}

export interface Sent {
  readonly source: string;
  readonly files: number;
  /** The size of the unpacked files. */
  readonly bytes: number;
  /** How much of the archive this run sent. */
  readonly sentBytes: number;
}

/** Packs and uploads the folder, and tells what is taken. @throws AppError source_invalid; of the agent; the signal's reason. */
export async function sendFolder(options: {
  readonly folder: string;
  readonly rules: SourceRules;
  readonly session: Session;
  readonly endpoint: AgentEndpoint;
  readonly signal: AbortSignal;
}): Promise<Sent> {
  const { folder, rules, session, endpoint, signal } = options;
  const { stderr } = session.context;
  const temporary = await mkdtemp(join(tmpdir(), 'holdfast-deploy-'));
  try {
    const file = join(temporary, 'source.tar.gz');
    const packed = await pack({ folder, rules, file, signal });
    session.progress(`Packed ${await takenText(folder, packed)}`);
    const progress = transferProgress('Sent', stderr, systemClock);
    try {
      const { archive, bytes } = packed;
      const uploaded = await uploadArchive({
        endpoint,
        file,
        archive,
        bytes,
        signal,
        clock: systemClock,
        call: (method, params, deadlineMs) => session.call(method, params, { deadlineMs }),
        onProgress: (sentBytes) => progress.update(sentBytes, bytes),
        onRetry: (error) => session.progress(`Trying again: ${error.message}`),
      });
      return { ...uploaded, files: packed.files, bytes: packed.treeBytes };
    } finally {
      progress.end();
    }
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function takenText(folder: string, { files, treeBytes: bytes, leftOut }: PackedFolder): Promise<string> {
  const summary: SourceSummary = {
    files,
    bytes,
    leftOut,
    folderFiles: await countLeftOut(folder, leftOut, maxCounted),
  };
  return summaryText(summary);
}

async function pack(options: {
  readonly folder: string;
  readonly rules: SourceRules;
  readonly file: string;
  readonly signal: AbortSignal;
}): Promise<PackedFolder> {
  const { folder, ...rest } = options;
  try {
    return await packFolder({ root: folder, limits: defaultSourceLimits, ...rest });
  } catch (error) {
    if (error instanceof AppError || options.signal.aborted) throw error;
    throw new AppError('source_invalid', `cannot read the folder: ${toAppError(error).message}`, { cause: error });
  }
}

/** What the app has stays, secrets as well: they are shown as `***`, which the agent takes for what they are. */
export function specOf(options: DeployChoice, existing: AppView | undefined, source: string): DeclaredAppInput {
  const build = buildOf(options, existing);
  if (existing === undefined) {
    const { app: name, path, env } = options;
    return { name, ...(path !== undefined && { path }), source, build, env: { ...env } };
  }
  const { image: _image, ref: _ref, git_auth: _auth, dir: _dir, build: before, ...kept } = existing.spec;
  const { preset: _preset, ...restOfBuild } = before;
  return {
    ...kept,
    path: options.path ?? kept.path,
    source,
    auto_sync: false,
    build: { ...restOfBuild, ...build },
    env: { ...kept.env, ...options.env },
  };
}
