/**
 * Fields by which proxies tell apps who calls and what was asked for. Apps and frameworks believe them, so a client that is not a trusted
 * proxy may not send them. A family of names ends with `*`.
 */
export const identityFields: readonly string[] = [
  // Forwarding fields that the router does not set itself, and those by which IIS, Symfony and others take another host or URL.
  'x-forwarded-*', 'x-forwarded', 'x-original-*', 'x-rewrite-*', 'x-url-scheme', 'x-scheme', 'x-host', 'x-http-host-override',
  'front-end-https', 'x-envoy-*', 'x-appengine-*', 'x-arr-*', 'x-azure-*',
  // The address of the client.
  'x-real-*', 'x-client-ip', 'x-cluster-client-ip', 'x-originating-ip', 'true-client-ip', 'client-ip', 'cf-*', 'fastly-*', 'fly-*',
  'x-vercel-*', 'x-nf-*',
  // The user, by identity-aware proxies: oauth2-proxy, Authelia, authentik, Pomerium, Vouch, IAP, ALB, App Service, Tailscale, Grafana.
  'x-remote-*', 'remote-*', 'x-auth-request-*', 'x-auth-user*', 'x-auth-email', 'x-auth-groups', 'x-authenticated-*', 'x-authentik-*',
  'x-pomerium-*', 'x-vouch-*', 'x-goog-authenticated-*', 'x-goog-iap-*', 'x-amzn-oidc-*', 'x-ms-client-principal*', 'x-ms-token-*',
  'tailscale-*', 'x-webauth-*', 'x-userinfo', 'holdfast-identity',
  // A client certificate.
  'x-client-cert*', 'x-client-dn', 'x-client-verify', 'x-ssl-*', 'ssl-*', 'x-tls-*', 'client-cert', 'client-cert-chain',
  // CGI-like apps take it for the proxy of their own requests: https://httpoxy.org
  'proxy',
]; // prettier-ignore

/** What a configuration changes of it. Names are in lower case with `-`. */
export class ClientFields {
  readonly #drop: Matcher | undefined;
  readonly #pass: Matcher | undefined;

  constructor({ drop, pass }: { readonly drop: readonly string[]; readonly pass: readonly string[] }) {
    this.#drop = drop.length === 0 ? undefined : matcherOf(drop);
    this.#pass = pass.length === 0 ? undefined : matcherOf(pass);
  }

  /** Whether names have to be looked at that are none of the families. */
  get dropsMore(): boolean {
    return this.#drop !== undefined;
  }

  /** @param isIdentity whether the name is of one of the families. */
  drops(name: string, isIdentity: boolean): boolean {
    const plain = name.toLowerCase().replaceAll('_', '-');
    if (isIdentity) return this.#pass?.(plain) !== true || plain !== name.toLowerCase();
    return this.#drop?.(plain) === true;
  }
}

type Matcher = (name: string) => boolean;

function matcherOf(patterns: readonly string[]): Matcher {
  const names = new Set(patterns.map((one) => one.toLowerCase()));
  const prefixes = [...names].filter((one) => one.endsWith('*')).map((one) => one.slice(0, -1));
  return (name) => names.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
}
