/** The agent's credentials for registries: a user with a password, a docker config.json, or tokens of Amazon ECR. */

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
  /** A refresh token for the registry's token service, which replaces the password. */
  readonly identityToken?: string | undefined;
}

/** An entry of `auths`, as Docker writes it. */
export interface DockerAuth {
  /** Base64 of `user:password`. */
  readonly auth: string;
  readonly identitytoken?: string;
}

/** Content of a config.json. */
export interface DockerConfig {
  readonly auths: Readonly<Record<string, DockerAuth>>;
}

/** @returns the values that must not be shown: passwords, tokens, and their encoded form. */
export function secretsOf({ auths }: DockerConfig): string[] {
  return Object.values(auths).flatMap(({ auth, identitytoken }) => {
    const password = Buffer.from(auth, 'base64')
      .toString()
      .replace(/^[^:]*:/, '');
    return identitytoken === undefined ? [auth, password] : [auth, password, identitytoken];
  });
}

export interface RegistryCredentials {
  /**
   * @param place is `host[:port]`, or with a repository `host[:port]/path`.
   * @returns undefined if there are no credentials: ask without.
   * @throws AppError image_denied, registry_unavailable, if a short-lived token could not be fetched.
   */
  authorizationFor(place: string, signal: AbortSignal): Promise<RegistryLogin | undefined>;
  /**
   * The credentials for these hosts (undefined: for all) in the form of a config.json, for programs that read one.
   * @throws AppError as `authorizationFor`.
   */
  dockerConfig(hosts: readonly string[] | undefined, signal: AbortSignal): Promise<DockerConfig>;
}

/** Fetches short-lived logins for one kind of registry. */
export interface LoginSource {
  serves(host: string): boolean;
  login(host: string, signal: AbortSignal): Promise<RegistryLogin>;
}

/** A config.json; see docker-config.ts. */
export interface DockerConfigFile {
  /** Logins by place: `host[:port]`, or with a path that they are limited to. If the file becomes unreadable, the last content is used. */
  entries(): Promise<ReadonlyMap<string, RegistryLogin>>;
}

export interface CredentialsDeps {
  /** The registry of `[registry]`, with its user if it has one. */
  readonly own: { readonly host: string; readonly login: RegistryLogin | undefined } | undefined;
  /** Logins of further registries, by host. */
  readonly others?: ReadonlyMap<string, RegistryLogin>;
  readonly file: DockerConfigFile | undefined;
  readonly tokens: LoginSource | undefined;
}

/** The users of `[registry]` and `[[registries]]` win over the file, and tokens win over both. */
export function createCredentials({
  own,
  others: given = new Map(),
  file,
  tokens,
}: CredentialsDeps): RegistryCredentials {
  const ownHost = own === undefined ? undefined : canonicalHost(own.host);
  const logins = new Map(Array.from(given, ([host, login]) => [canonicalHost(host), login]));
  if (ownHost !== undefined && own?.login !== undefined) logins.set(ownHost, own.login);
  return {
    async authorizationFor(place, signal) {
      const path = canonicalPlace(place);
      const host = hostOf(path);
      if (tokens?.serves(host) === true) return await tokens.login(host, signal);
      const login = logins.get(host);
      if (login !== undefined) return login;
      const entries = (await file?.entries()) ?? new Map<string, RegistryLogin>();
      for (let prefix = path; ; prefix = prefix.slice(0, prefix.lastIndexOf('/'))) {
        const found = entries.get(prefix);
        if (found !== undefined || !prefix.includes('/')) return found;
      }
    },
    async dockerConfig(hosts, signal) {
      const wanted = hosts === undefined ? undefined : new Set(hosts.map(canonicalHost));
      const auths: Record<string, DockerAuth> = {};
      for (const [place, login] of (await file?.entries()) ?? []) {
        if (wanted?.has(hostOf(place)) !== false) auths[keyOf(place)] = authOf(login);
      }
      for (const [host, login] of logins) {
        if (wanted?.has(host) !== false) auths[keyOf(host)] = authOf(login);
      }
      if (tokens !== undefined) {
        for (const host of wanted ?? (ownHost === undefined ? [] : [ownHost])) {
          if (tokens.serves(host)) auths[keyOf(host)] = authOf(await tokens.login(host, signal));
        }
      }
      return { auths };
    },
  };
}

const dockerHubNames = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com']);

/** @returns `host[:port]` or `host[:port]/path` in the form that is compared: without scheme and `/v1/`, one name for Docker Hub. */
export function canonicalPlace(written: string): string {
  const bare = written.replace(/^https?:\/\//i, '').replace(/\/+(v[12]\/*)?$/, '');
  const slash = bare.indexOf('/');
  const host = canonicalHost(slash < 0 ? bare : bare.slice(0, slash));
  return slash < 0 ? host : host + bare.slice(slash);
}

function canonicalHost(written: string): string {
  const host = written.toLowerCase();
  return dockerHubNames.has(host) ? 'docker.io' : host;
}

function hostOf(place: string): string {
  return place.split('/', 1)[0] ?? place;
}

/** The key in a config.json. For Docker Hub, programs look for the address that `docker login` writes. */
function keyOf(place: string): string {
  return place === 'docker.io' ? 'https://index.docker.io/v1/' : place;
}

function authOf({ username, password, identityToken }: RegistryLogin): DockerAuth {
  const auth = Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
  return identityToken === undefined ? { auth } : { auth, identitytoken: identityToken };
}
