/** Credentials for git, in its environment and in files, never in a command line or a URL. */
import { randomUUID } from 'node:crypto';
import { copyFile, chmod, mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { GitUrl } from './git-url.ts';

/** A `[[git_auth]]` with its password read. */
export interface GitAuth {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly ssh_key_file?: string | undefined;
  readonly known_hosts_file?: string | undefined;
  readonly ca_file?: string | undefined;
}

export interface GitLogin {
  readonly env: Readonly<Record<string, string>>;
  readonly config: readonly (readonly [key: string, value: string])[];
  /** Must not appear in any message. */
  readonly secrets: readonly string[];
  close(): Promise<void>;
}

const noLogin: GitLogin = { env: {}, config: [], secrets: [], close: () => Promise.resolve() };
const sshConnectSecs = 15;

/**
 * @param auth the credentials that the app names, if any.
 * @throws AppError source_denied if they may not be used for this host, or if ssh has no host keys.
 */
export async function createLogin(url: GitUrl, auth: GitAuth | undefined, workDir: string): Promise<GitLogin> {
  if (auth !== undefined && url.host !== '' && !auth.hosts.includes(url.host))
    throw denied(`git_auth ${auth.name} may not be used for ${url.host}: its hosts are ${auth.hosts.join(', ')}`);
  switch (url.protocol) {
    case 'file':
      return noLogin;
    case 'http':
    case 'https':
      return auth === undefined ? noLogin : webLogin(url, auth);
    case 'ssh':
      return await sshLogin(url, auth, workDir);
  }
}

/**
 * Passes the credentials by a credential helper that git asks only for this host: a redirect to another host does not get them. The helper
 * is the shell's built-in `printf`, whose arguments no other process sees.
 */
function webLogin(url: GitUrl, auth: GitAuth): GitLogin {
  const env: Record<string, string> = {};
  const config: [string, string][] = [];
  if (auth.ca_file !== undefined) env['GIT_SSL_CAINFO'] = resolve(auth.ca_file);
  if (auth.password !== undefined) {
    const username = auth.username ?? 'git';
    if (/[\0\r\n]/.test(username + auth.password))
      throw denied(`git_auth ${auth.name} has a line break in its password`);
    env['HOLDFAST_GIT_USERNAME'] = username;
    env['HOLDFAST_GIT_PASSWORD'] = auth.password;
    const answer = `printf 'username=%s\\npassword=%s\\n' "$HOLDFAST_GIT_USERNAME" "$HOLDFAST_GIT_PASSWORD"`;
    config.push([`credential.${url.protocol}://${url.host}.helper`, `!f() { test "$1" = get && ${answer}; }; f`]);
  }
  return { ...noLogin, env, config, secrets: auth.password === undefined ? [] : [auth.password] };
}

/** Uses nothing of the agent's own user: no configuration, no ssh agent, no other keys or known hosts. */
async function sshLogin(url: GitUrl, auth: GitAuth | undefined, workDir: string): Promise<GitLogin> {
  if (auth?.ssh_key_file === undefined || auth.known_hosts_file === undefined)
    throw denied(
      auth === undefined
        ? `a git source by ssh needs \`git_auth\`: a [[git_auth]] with ssh_key_file and known_hosts_file for ${url.host}`
        : `git_auth ${auth.name} has no ssh_key_file`,
    );
  // A copy, because ssh refuses keys that others may read, such as the files of a Secret.
  const folder = join(workDir, `ssh-${randomUUID()}`);
  const key = join(folder, 'key');
  const close = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await mkdir(folder, { mode: 0o700 });
    await copyFile(resolve(auth.ssh_key_file), key);
    await chmod(key, 0o600);
  } catch (error) {
    await close();
    throw denied(`the ssh key of git_auth ${auth.name} cannot be read`, error);
  }
  const options = {
    BatchMode: 'yes',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: quoteOption(resolve(auth.known_hosts_file)),
    GlobalKnownHostsFile: '/dev/null',
    UpdateHostKeys: 'no',
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    PasswordAuthentication: 'no',
    KbdInteractiveAuthentication: 'no',
    ForwardAgent: 'no',
    ClearAllForwardings: 'yes',
    PermitLocalCommand: 'no',
    ControlMaster: 'no',
    ControlPath: 'none',
    ConnectTimeout: String(sshConnectSecs),
    ServerAliveInterval: String(sshConnectSecs),
    ...(url.user === undefined ? { User: 'git' } : {}),
  };
  const words = [
    'ssh',
    '-F',
    '/dev/null',
    '-i',
    key,
    ...Object.entries(options).flatMap(([k, v]) => ['-o', `${k}=${v}`]),
  ];
  return {
    ...noLogin,
    env: { GIT_SSH_COMMAND: words.map(quoteShell).join(' '), GIT_SSH_VARIANT: 'ssh' },
    close,
  };
}

function quoteShell(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** ssh splits this option at spaces, and expands `%`. */
function quoteOption(path: string): string {
  return `"${path.replaceAll('%', '%%')}"`;
}

function denied(message: string, cause?: unknown): AppError {
  return new AppError('source_denied', message, { phase: 'source', cause });
}
