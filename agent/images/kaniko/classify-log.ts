/**
 * Finds out from the executor's log why it failed. Pure. The last line is the error itself; the lines before it name the step and
 * the image that it is about. The texts are those of Kaniko and of the registry client in it.
 */
import type { ErrorCode } from '../../../shared/error-codes.ts';

export interface LogVerdict {
  readonly code: ErrorCode;
  readonly message: string;
  /** The Dockerfile instruction that failed. */
  readonly step?: string;
  readonly exitCode?: number;
}

interface Found {
  /** The error that the executor printed last. */
  readonly error: string;
  readonly step: string | undefined;
  readonly image: string | undefined;
  readonly lines: readonly string[];
  readonly exitCode: number;
}

const maxStepLength = 200;
const maxErrorLength = 500;

const denied =
  /\b(UNAUTHORIZED|DENIED)\b|status code 40[13]\b|\b40[13] (Unauthorized|Forbidden)|no basic auth credentials/i;
const missing =
  /MANIFEST_UNKNOWN|NAME_UNKNOWN|NAME_INVALID|MANIFEST_INVALID|status code 404\b|404 Not Found|image not found on any configured/i;
const untrusted = /x509:|tls: |certificate/i;
const away =
  /dial tcp|lookup .*(no such host|server misbehaving)|connection (refused|reset)|i\/o timeout|TLS handshake timeout|context deadline exceeded|Client\.Timeout|\bEOF\b|broken pipe|TOOMANYREQUESTS|too many requests|status code (429|5\d\d)|\b(500|502|503|504) [A-Z]|INTERNAL_ERROR|UNAVAILABLE|server gave HTTP response/;

/**
 * @param lines are the last lines of the log without escape sequences, newest last.
 * @param exitCode is that of the executor's container, not 0.
 */
export function classifyLog(lines: readonly string[], exitCode: number): LogVerdict {
  const error = lastError(lines);
  const found = { error, step: lastStep(lines), image: lastImage(lines), lines, exitCode };
  if (error === '') return withoutVerdict(found);
  if (/no space left on device/.test(error))
    return verdict('builder_unavailable', found, 'the node has no disk space left for the build');
  if (error.startsWith('error checking push permissions'))
    return pushFailure(found, 'the registry cannot be pushed to');
  if (error.startsWith('error pushing image')) return pushFailure(found, 'the image could not be pushed');
  if (/unknown flag|flag provided but not defined|outside of a container/.test(error)) {
    return verdict('builder_unavailable', found, 'the executor of [builder] kaniko_image cannot be used');
  }
  return dockerfileFailure(found) ?? stepFailure(found) ?? registryFailure(found) ?? otherFailure(found);
}

function verdict(
  code: ErrorCode,
  { error, step }: Pick<Found, 'error' | 'step'>,
  words: string,
  about: Partial<LogVerdict> = {},
): LogVerdict {
  const detail = error
    .replace(/^(error (building|pushing) image|Error): /, '')
    .replace(/^error checking push permissions -- .*? try again: (checking push permission for "[^"]*": )?/, '');
  return {
    code,
    message: detail === '' ? words : `${words}: ${cut(detail, maxErrorLength)}`,
    ...(step === undefined || code === 'push_denied' ? {} : { step }),
    ...about,
  };
}

/** Finds the error, which is not always the last line: after some errors the executor prints its usage. */
function lastError(lines: readonly string[]): string {
  const own = lines.findLast((line) =>
    /^(error (building|pushing|checking|resolving|executing)|Error: |error )/.test(line),
  );
  const fatal = lines.findLast((line) => /^(FATA|PANI)\[\d+\] |^panic: /.test(line));
  return (own ?? fatal ?? '').trim();
}

const instruction = /^INFO\[\d+\] ((?:RUN|COPY|ADD|WORKDIR|USER|VOLUME|ENV|ARG|SHELL|ONBUILD|FROM) .*)/;

function lastStep(lines: readonly string[]): string | undefined {
  const line = lines.findLast((one) => instruction.test(one));
  return line === undefined ? undefined : cut((instruction.exec(line)?.[1] ?? '').trim(), maxStepLength);
}

function lastImage(lines: readonly string[]): string | undefined {
  for (const line of lines.toReversed()) {
    const named = /Retrieving image manifest (\S+)|Failed to retrieve image (\S+) from/.exec(line);
    const image = named?.[1] ?? named?.[2];
    if (image !== undefined) return image;
  }
  return undefined;
}

function pushFailure(found: Found, words: string): LogVerdict {
  const { error } = found;
  if (/getting tag for destination/.test(error))
    return verdict('build_failed', found, 'the name of the image is not valid');
  if (denied.test(error)) return verdict('push_denied', found, 'the registry refused the push');
  if (missing.test(error))
    return verdict('push_denied', found, 'the registry has no such repository and does not create it');
  if (untrusted.test(error))
    return verdict('registry_unavailable', found, `${words}: its certificate is not trusted ([registry] ca_file)`);
  return verdict('registry_unavailable', found, words);
}

function dockerfileFailure(found: Found): LogVerdict | undefined {
  const { error } = found;
  if (/resolving dockerfile path/.test(error)) {
    return { code: 'dockerfile_invalid', message: 'the source has no such Dockerfile' };
  }
  if (/finding target stage|is not a valid target build stage/.test(error)) {
    return { code: 'dockerfile_invalid', message: `the Dockerfile has no such stage: ${detailOf(error)}` };
  }
  const parse =
    /parsing dockerfile|dockerfile parse error|at least one FROM|file with no instructions|no build stage|unknown instruction|failed to process .*(syntax|unexpected)/i;
  if (!parse.test(error)) return undefined;
  return { code: 'dockerfile_invalid', message: `the Dockerfile is not valid: ${detailOf(error)}` };
}

const killedStatus = '137';

/** The verdict on a step that failed, or could not run. */
function stepFailure(found: Found): LogVerdict | undefined {
  const { error, step } = found;
  const named = step === undefined ? 'a step of the Dockerfile' : `the step \`${step}\``;
  const about = step === undefined ? {} : { step };
  const status = /waiting for process to exit: exit status (\d+)/.exec(error)?.[1];
  const signal = /waiting for process to exit: signal: (.+)$/.exec(error)?.[1];
  // A shell whose program was killed ends with 128 + 9. The kubelet reports OOMKilled only if the kernel's event comes before the
  // container ends, so it may be missing.
  if (status === killedStatus || signal === 'killed') {
    return {
      code: 'build_out_of_memory',
      message: `${named} was killed, most likely by the kernel because it needed more memory than its limit`,
      ...about,
      ...(status === undefined ? {} : { exitCode: Number(status) }),
    };
  }
  if (signal !== undefined) {
    return { code: 'build_failed', message: `${named} was ended by signal ${signal}`, ...about };
  }
  if (status !== undefined) {
    const exitCode = Number(status);
    return { code: 'build_failed', message: `${named} failed with exit code ${status}`, ...about, exitCode };
  }
  if (
    /failed to execute command|failed to get files used from context|failed to optimize instructions.*context/.test(
      error,
    )
  ) {
    if (away.test(error) && !/lstat|stat /.test(error) && step?.startsWith('ADD') !== true) return undefined;
    return { code: 'build_failed', message: `${named} failed: ${detailOf(error)}`, ...about };
  }
  return undefined;
}

/** The verdict on a base image, or layers of the cache, that could not be pulled. */
function registryFailure(found: Found): LogVerdict | undefined {
  const { error, lines } = found;
  const url = /https?:\/\/([^/\s"]+)\/v2\/([^\s"]+)\/(?:manifests|blobs)\/([^\s":]+(?::[0-9a-f]+)?)/.exec(error);
  const named = /mapped registries for (\S+?)[.]?$/.exec(error)?.[1];
  const fromUrl = url === null ? undefined : imageOf(url[1] ?? '', url[2] ?? '', url[3] ?? '');
  const image = named ?? (/manifests/.test(url?.[0] ?? '') ? fromUrl : undefined) ?? found.image ?? fromUrl;
  const base =
    image === undefined ? 'the base image' : `the base image ${image.replace(/^index\.docker\.io\/(library\/)?/, '')}`;
  if (missing.test(error) || denied.test(error)) {
    const words = denied.test(error)
      ? 'does not exist, or cannot be pulled with the configured credentials'
      : 'does not exist';
    return { code: 'base_image_not_found', message: `${base} ${words}: ${detailOf(error)}` };
  }
  if (!away.test(error) && !untrusted.test(error)) return undefined;
  // For an image that a mirror lacks, the executor asks Docker Hub, which may be out of reach: the mirror's answer counts.
  const refusedByMirror = lines.some(
    (line) => /Failed to retrieve image .* from remapped registry/.test(line) && missing.test(line),
  );
  if (refusedByMirror) {
    return {
      code: 'base_image_not_found',
      message: `${base} is in none of the registry mirrors, and the registry itself cannot be reached: ${detailOf(error)}`,
    };
  }
  return { code: 'registry_unavailable', message: `${base} could not be pulled: ${detailOf(error)}` };
}

function otherFailure(found: Found): LogVerdict {
  const { step, error } = found;
  if (/^(panic|FATA|PANI)/.test(error)) return verdict('builder_unavailable', found, 'the executor crashed');
  const at = step === undefined ? 'the build failed' : `the build failed at \`${step}\``;
  return verdict('build_failed', found, at);
}

/** The verdict on an executor that was killed, or whose log was lost. */
function withoutVerdict({ exitCode, step }: Found): LogVerdict {
  const at = step === undefined ? '' : ` at \`${step}\``;
  const how =
    exitCode > 128 ? `was ended by signal ${String(exitCode - 128)}` : `ended with exit code ${String(exitCode)}`;
  return {
    code: exitCode > 128 ? 'builder_unavailable' : 'build_failed',
    message: `the executor ${how}${at} without saying why`,
    ...(step === undefined ? {} : { step }),
    exitCode,
  };
}

function detailOf(error: string): string {
  const detail = error
    .replace(/^(error (building|pushing) image|Error): /, '')
    .replace(
      /error building stage: |failed to execute command: |unable to complete operation after \d+ attempts, last error: /g,
      '',
    )
    .replaceAll('/kaniko/buildcontext/tree/', '');
  return cut(detail, maxErrorLength);
}

function imageOf(host: string, repository: string, reference: string): string {
  return `${host}/${repository}${reference.startsWith('sha256:') ? '@' : ':'}${reference}`;
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
