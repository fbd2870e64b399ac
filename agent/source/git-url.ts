/** Git URLs: which are accepted, which host they lead to, and whether two of them mean the same repository. */
import { AppError } from '../../shared/errors.ts';

export interface GitUrl {
  readonly protocol: 'https' | 'http' | 'ssh' | 'file';
  /** The URL as it is passed to git. */
  readonly url: string;
  /** `host` or `host:port` in lower case; '' for files. */
  readonly host: string;
  readonly user: string | undefined;
}

/** Characters that URL reads differently from git and curl, so that the checked host might not be the host that is asked. */
const ambiguous = /[\\#\s\p{Cc}]/u;
const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]']);

/** @throws AppError source_invalid, saying what to write instead. */
export function parseGitUrl(source: string, { allowFiles }: { readonly allowFiles: boolean }): GitUrl {
  const scp = scpParts(source);
  if (scp !== undefined) {
    refuseOptions(scp.host);
    return { protocol: 'ssh', url: source, host: scp.host, user: scp.user };
  }
  const url = URL.canParse(source) && (/^file:/i.test(source) || !ambiguous.test(source)) ? new URL(source) : undefined;
  if (url === undefined) throw invalid('the source is not a valid git URL');
  if (url.password !== '' || (url.username !== '' && url.protocol !== 'ssh:'))
    throw invalid(
      'a git URL must not hold credentials: put them into a [[git_auth]] of the agent and name it in `git_auth`',
    );
  const user = url.username === '' ? undefined : decodeURIComponent(url.username);
  const host = url.host.toLowerCase();
  switch (url.protocol) {
    case 'https:':
      return { protocol: 'https', url: source, host, user };
    case 'http:':
      if (!loopbackHosts.has(url.hostname))
        throw invalid('a git source by http:// can be read and changed in transit: use https:// or ssh://');
      return { protocol: 'http', url: source, host, user };
    case 'ssh:':
      refuseOptions(host);
      refuseOptions(user ?? '');
      return { protocol: 'ssh', url: source, host, user };
    case 'file:':
      if (!allowFiles)
        throw invalid('git sources by file:// are not allowed; set `allow_file_urls` in [source] to allow them');
      if (host !== '') throw invalid('a file:// URL names no host: file:///path');
      return { protocol: 'file', url: source, host: '', user };
    default:
      throw invalid(`git sources by ${url.protocol}// are not supported: use https:// or ssh://`);
  }
}

/**
 * A key that all URLs of one repository share: https and ssh, any case, with and without `.git`. Ports do not count, because servers have
 * different ports for different protocols. Undefined if the source is not a URL of a server.
 */
export function repositoryKey(source: string): string | undefined {
  const scp = scpParts(source);
  if (scp !== undefined) return keyOf(scp.host, scp.path);
  if (!URL.canParse(source)) return undefined;
  const { hostname, pathname } = new URL(source);
  return hostname === '' ? undefined : keyOf(hostname, pathname);
}

function keyOf(host: string, path: string): string {
  const name = path
    .replace(/\/+$/, '')
    .replace(/\.git$/i, '')
    .replace(/^\/+/, '');
  return `${host}/${name}`.toLowerCase();
}

/** `user@host:path`, as scp(1) has it. */
function scpParts(source: string): { user: string; host: string; path: string } | undefined {
  const match = /^([\w.-]+)@([\w.-]+):(?!\/\/)(.+)$/.exec(source);
  if (match === null) return undefined;
  const [, user = '', host = '', path = ''] = match;
  return { user, host: host.toLowerCase(), path };
}

/** ssh would read a leading `-` as an option; git refuses it too. */
function refuseOptions(text: string): void {
  if (text.startsWith('-')) throw invalid('a host or user must not begin with -');
}

function invalid(message: string): AppError {
  return new AppError('source_invalid', message, { phase: 'source' });
}
