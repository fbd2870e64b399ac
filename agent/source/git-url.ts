/** Git URLs: which are taken, where they lead, and whether two of them mean one repository. */
import { AppError } from '../../shared/errors.ts';

export interface GitUrl {
  readonly protocol: 'https' | 'http' | 'ssh' | 'file';
  /** As git gets it. */
  readonly url: string;
  /** `host` or `host:port`, lower case; '' for files. */
  readonly host: string;
  readonly user: string | undefined;
}

/** Read in one way by URL, in another by git and curl: the host that was checked would not be the one that is asked. */
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
        throw invalid('a git source by http:// could be read and changed on its way: use https:// or ssh://');
      return { protocol: 'http', url: source, host, user };
    case 'ssh:':
      refuseOptions(host);
      refuseOptions(user ?? '');
      return { protocol: 'ssh', url: source, host, user };
    case 'file:':
      if (!allowFiles)
        throw invalid('git sources by file:// are not taken here; `[source] allow_file_urls` allows them');
      if (host !== '') throw invalid('a file:// URL names no host: file:///path');
      return { protocol: 'file', url: source, host: '', user };
    default:
      throw invalid(`git sources by ${url.protocol}// are not taken`);
  }
}

/**
 * What is the same for all URLs of one repository: https and ssh, any case, with and without `.git`. Servers have different ports for
 * different protocols, so ports do not count. Undefined for what is no URL of a server.
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

/** Git refuses them too: ssh would read them as options. */
function refuseOptions(text: string): void {
  if (text.startsWith('-')) throw invalid('a host or user must not begin with -');
}

function invalid(message: string): AppError {
  return new AppError('source_invalid', message, { phase: 'source' });
}
