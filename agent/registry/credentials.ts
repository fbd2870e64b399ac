/** Who the agent is to registries: fixed user and password, a docker config.json, or tokens of Amazon ECR. */

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
  /** Instead of the password: a refresh token for the registry's token service. */
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

/** What of it must not be shown: passwords, and the form in which the file has them. */
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
   * @param place `host[:port]`, or with a repository: `host[:port]/path`.
   * @returns undefined: nothing is known, ask without.
   * @throws AppError image_denied, registry_unavailable (where short-lived tokens cannot be had).
   */
  authorizationFor(place: string, signal: AbortSignal): Promise<RegistryLogin | undefined>;
  /**
   * What is known of these hosts, for programs that read a config.json; undefined: of all.
   * @throws AppError as `authorizationFor`.
   */
  dockerConfig(hosts: readonly string[] | undefined, signal: AbortSignal): Promise<DockerConfig>;
}

/** Short-lived logins of one kind of registry. */
export interface LoginSource {
  serves(host: string): boolean;
  login(host: string, signal: AbortSignal): Promise<RegistryLogin>;
}

/** A config.json; see docker-config.ts. */
export interface DockerConfigFile {
  /** By place: `host[:port]`, or with a path that it is limited to. After a first success the last good content is kept. */
  entries(): Promise<ReadonlyMap<string, RegistryLogin>>;
}

export interface CredentialsDeps {
  /** `[registry]`, and its user where it has one. */
  readonly own: { readonly host: string; readonly login: RegistryLogin | undefined } | undefined;
  readonly file: DockerConfigFile | undefined;
  readonly tokens: LoginSource | undefined;
}

/** What is said in `[registry]` wins over the file, and tokens over both. */
export function createCredentials({ own, file, tokens }: CredentialsDeps): RegistryCredentials {
  const ownHost = own === undefined ? undefined : canonicalHost(own.host);
  return {
    async authorizationFor(place, signal) {
      const path = canonicalPlace(place);
      const host = hostOf(path);
      if (tokens?.serves(host) === true) return await tokens.login(host, signal);
      if (own?.login !== undefined && host === ownHost) return own.login;
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
      if (ownHost !== undefined && own?.login !== undefined && wanted?.has(ownHost) !== false) {
        auths[keyOf(ownHost)] = authOf(own.login);
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

/** `host[:port]` or `host[:port]/path` as it is compared: no scheme, no `/v1/`, one name for Docker Hub. */
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

/** Programs look for Docker Hub under the address that `docker login` has always written. */
function keyOf(place: string): string {
  return place === 'docker.io' ? 'https://index.docker.io/v1/' : place;
}

function authOf({ username, password, identityToken }: RegistryLogin): DockerAuth {
  const auth = Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
  return identityToken === undefined ? { auth } : { auth, identitytoken: identityToken };
}
