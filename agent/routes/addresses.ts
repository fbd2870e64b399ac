/** Where apps are: the route of an app that declares none, the hosts that no app may have, and the URLs that people are shown. */
import { AppError } from '../../shared/errors.ts';
import type { AppConfig } from '../../shared/protocol/app-config.ts';
import { parseRoute, withRoute, type AppSpec, type DeclaredApp } from '../../shared/protocol/app-spec.ts';

export interface AddressesConfig {
  readonly default_domain?: string | undefined;
  readonly public_url?: string | undefined;
  readonly reserved_hosts: readonly string[];
}

export interface Addresses {
  readonly defaultDomain: string | null;
  readonly publicUrl: string | null;
  /** The app with its route. @throws AppError app_invalid without a route, or with a host that is reserved. */
  route(app: DeclaredApp): AppSpec;
  /** Where callers reach a route; null if that is not known. */
  urlOf(
    route: { readonly host: string; readonly path: string },
    config: { readonly strip_path?: boolean | undefined },
  ): string | null;
}

/**
 * @param own.hosts of the installation itself, such as that of its registry, which no app gets by its name.
 * @param own.defaults of every app.
 */
export function createAddresses(
  config: AddressesConfig,
  { hosts = [], defaults }: { readonly hosts?: readonly string[]; readonly defaults: Pick<AppConfig, 'strip_path'> },
): Addresses {
  const { default_domain: domain, public_url, reserved_hosts: reserved } = config;
  const origin = public_url === undefined ? undefined : new URL(public_url);
  const own = new Set([...hosts, ...(origin === undefined ? [] : [origin.hostname])]);

  return {
    defaultDomain: domain ?? null,
    publicUrl: origin?.origin ?? null,
    route(app) {
      const routed = withRoute(app, domain);
      if (routed === undefined) {
        throw refusal(
          app,
          'path is required, because the agent has no default_domain: give it a path such as /' + app.name,
        );
      }
      const { host = '' } = parseRoute(routed.path) ?? {};
      if (reserved.some((one) => covers(one, host)))
        throw refusal(app, `the host ${host} is reserved: choose another path`);
      if (app.path === undefined && own.has(host)) {
        throw refusal(
          app,
          `its host would be ${host}, which is taken by Holdfast itself: give it a path or another name`,
        );
      }
      return routed;
    },
    urlOf({ host, path }, { strip_path = defaults.strip_path }) {
      if (origin === undefined || host.startsWith('*.')) return null;
      const port = origin.port === '' ? '' : `:${origin.port}`;
      const base = `${origin.protocol}//${host === '' ? origin.hostname : host}${port}`;
      if (path === '/') return base;
      // With a slash, the relative links of its pages lead to the app.
      return strip_path ? `${base}${path}/` : `${base}${path}`;
    },
  };
}

function refusal({ name }: DeclaredApp, message: string): AppError {
  return new AppError('app_invalid', `app ${name}: ${message}`, { data: { app: name, key: 'path' } });
}

/** @param reserved a host, or `*.domain` for every host below it. */
function covers(reserved: string, host: string): boolean {
  return reserved.startsWith('*.') ? host.endsWith(reserved.slice(1)) : host === reserved;
}
