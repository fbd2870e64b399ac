/** Finds out from the output of buildah, podman or docker why a build failed. */
import type { BuildFailure } from '../shared/protocol/builder-wire.ts';

export interface FailedRun {
  readonly stage: 'build' | 'push';
  readonly image: string;
  /** undefined if a signal ended the program. */
  readonly exitCode: number | undefined;
  /** The last lines of the output, newest last. */
  readonly lines: readonly string[];
}

const maxMessageLength = 1_000;
const keptLines = 50;

export function verdictOf(run: FailedRun): BuildFailure {
  const found = run.stage === 'push' ? pushVerdict(run) : buildVerdict(run);
  return { ...found, message: found.message.slice(0, maxMessageLength), logs: run.lines.slice(-keptLines) };
}

const noSpace = /no space left on device|disk quota exceeded/i;
const denied = /unauthorized|authentication required|access denied|denied:|insufficient_scope|\b40[13]\b|forbidden/i;
const notThere =
  /manifest unknown|name unknown|not found|repository does not exist|\b404\b|did not resolve to an alias|no such image/i;
const away =
  /connection refused|no such host|i\/o timeout|timed? ?out|connection reset|network is unreachable|no route to host|tls:|x509:|server gave HTTP response|\bEOF\b|\b50\d\b|\b429\b|toomanyrequests|temporary failure/i;

function pushVerdict({ image, exitCode, lines }: FailedRun): BuildFailure {
  const why = errorLine(lines);
  if (noSpace.test(why)) return { code: 'builder_unavailable', message: `the builder has no disk space left: ${why}` };
  if (denied.test(why)) return { code: 'push_denied', message: `the registry refused the push of ${image}: ${why}` };
  if (away.test(why) || /pushing image|error copying|writing blob|pinging container registry/i.test(why)) {
    return { code: 'registry_unavailable', message: `${image} could not be pushed: ${why}` };
  }
  return unclear('the push', exitCode, why);
}

function buildVerdict({ exitCode, lines }: FailedRun): BuildFailure {
  const why = errorLine(lines);
  const step = stepOf(lines);
  if (noSpace.test(why)) return { code: 'builder_unavailable', message: `the builder has no disk space left: ${why}` };
  if (isKilled(lines, exitCode, step)) {
    const message = `step ${step ?? '?'} was killed, most likely for its memory`;
    return { code: 'build_out_of_memory', message, ...(step === undefined ? {} : { step }) };
  }
  const base = baseVerdict(why, lines);
  if (base !== undefined) return base;
  if (isInvalid(why)) return { code: 'dockerfile_invalid', message: why };
  if (step !== undefined) {
    const code = exitOf(lines);
    const how = code === undefined ? why : `exit code ${String(code)}`;
    const failure = { code: 'build_failed', message: `step ${step} failed: ${how}`, step } as const;
    return code === undefined ? failure : { ...failure, exitCode: code };
  }
  // Before the first step only the Dockerfile and base images can be wrong, so the program itself could not run.
  return unclear('the build', exitCode, why);
}

/** @returns the instruction that failed. buildah: `building at STEP "RUN x": …`, or the last `STEP 3/5: RUN x`; BuildKit: `process "/bin/sh -c x" did not …`; docker: `The command 'x' returned`. */
function stepOf(lines: readonly string[]): string | undefined {
  for (const line of lines.toReversed()) {
    const named =
      /building at STEP "(.*?)": /.exec(line)?.[1] ??
      /process "(?:\/bin\/sh -c )?(.*?)" did not complete/.exec(line)?.[1] ??
      /The command '(?:\/bin\/sh -c )?(.*?)' returned a non-zero code/.exec(line)?.[1];
    if (named !== undefined) return named;
  }
  for (const line of lines.toReversed()) {
    const announced = /^(?:\[\d+\/\d+\] )?(?:STEP|Step) \d+\/\d+ ?: (.*)$/.exec(line)?.[1];
    if (announced !== undefined && !/^FROM\b/i.test(announced)) return announced;
  }
  return undefined;
}

function exitOf(lines: readonly string[]): number | undefined {
  for (const line of lines.toReversed()) {
    const code = /(?:exit status|exit code:|non-zero code:) (\d{1,3})\b/.exec(line)?.[1];
    if (code !== undefined) return Number(code);
  }
  return undefined;
}

function isKilled(lines: readonly string[], exitCode: number | undefined, step: string | undefined): boolean {
  const last = lines.slice(-6);
  if (last.some((line) => /^subprocess exited on killed|signal: killed/.test(line))) return true;
  return step !== undefined && (exitCode === 137 || exitOf(last) === 137);
}

/** The verdict about a base image. buildah: `initializing source docker://IMAGE: …` ; BuildKit: `failed to resolve source metadata for IMAGE: …`. */
function baseVerdict(why: string, lines: readonly string[]): BuildFailure | undefined {
  const image =
    /initializing source docker:\/\/(\S+?): /.exec(why)?.[1] ??
    /failed to resolve source metadata for (\S+?): /.exec(why)?.[1] ??
    /pull access denied for ([^\s,]+)/.exec(why)?.[1] ??
    /manifest for (\S+) not found/.exec(why)?.[1] ??
    /short-name (?:resolution[^"]*|)"?([^"\s]+)"? did not resolve/.exec(why)?.[1];
  const isBase =
    image !== undefined || /creating build container|load metadata for/.test(why) || isAboutFrom(why, lines);
  if (!isBase) return undefined;
  const named = image ?? 'of the Dockerfile';
  // Denied comes first: a registry that refuses has been reached.
  if (denied.test(why)) {
    return { code: 'base_image_not_found', message: `the base image ${named} may not be pulled: ${why}` };
  }
  if (away.test(why)) {
    return { code: 'registry_unavailable', message: `the base image ${named} could not be pulled: ${why}` };
  }
  if (notThere.test(why))
    return { code: 'base_image_not_found', message: `the base image ${named} is not there: ${why}` };
  return undefined;
}

function isAboutFrom(why: string, lines: readonly string[]): boolean {
  const last = lines.findLast((line) => /^(?:\[\d+\/\d+\] )?(?:STEP|Step) \d+\/\d+ ?: /.test(line));
  return last !== undefined && /: FROM\b/i.test(last) && /manifest|pull|registry/i.test(why);
}

function isInvalid(why: string): boolean {
  return /unknown instruction|dockerfile parse error|failed to parse|Build error:|no contents in|no FROM statement|file with no instructions|FROM requires|requires (either|at least|exactly|one)|target .* (was not found|could not be (found|reached))|Dockerfile cannot be empty|no build stage|Syntax error|invalid reference format|invalid reference/i.test(
    why,
  );
}

/** @returns the last line that begins with `error`, or the last line. */
function errorLine(lines: readonly string[]): string {
  const said = lines.findLast((line) => /^(error|ERROR)\b/i.test(line)) ?? lines.at(-1) ?? '';
  return said.replace(/^error:?\s*/i, '');
}

function unclear(what: string, exitCode: number | undefined, why: string): BuildFailure {
  const how = exitCode === undefined ? 'was ended by a signal' : `ended with exit code ${String(exitCode)}`;
  return { code: 'builder_unavailable', message: `${what} ${how}${why === '' ? '' : `: ${why}`}` };
}
