/**
 * Answers the challenges of registries: Basic, or a token of the token service that the challenge names. RFC 9110 §11.6.1,
 * https://distribution.github.io/distribution/spec/auth/token/
 */
import type { RegistryLogin } from './credentials.ts';

export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer';
      readonly realm: string;
      readonly service: string | undefined;
      readonly scope: string | undefined;
    };

/** Real ones have some 200 characters. */
const maxChallengeLength = 4_096;

/** @returns the first challenge of a `WWW-Authenticate` that can be answered; none for one that is too long to be real. */
export function parseChallenge(header: string): Challenge | undefined {
  if (header.length > maxChallengeLength) return undefined;
  const bearer = /(?:^|,)\s*bearer\s+(.*)$/i.exec(header)?.[1];
  if (bearer !== undefined) {
    const params = new Map<string, string>();
    for (const match of bearer.matchAll(/(?<![\w-])([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)) {
      const name = (match[1] ?? '').toLowerCase();
      if (!params.has(name)) params.set(name, (match[2] ?? match[3] ?? '').replaceAll(/\\(.)/g, '$1'));
    }
    const realm = params.get('realm');
    if (realm !== undefined) {
      return { scheme: 'bearer', realm, service: params.get('service'), scope: params.get('scope') };
    }
  }
  return /(?:^|,)\s*basic(?:\s|,|$)/i.test(header) ? { scheme: 'basic' } : undefined;
}

/** What to ask a token service for, and the login to use. */
interface TokenWish {
  readonly service: string | undefined;
  readonly scope: string;
  readonly login: RegistryLogin | undefined;
}

export interface TokenRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  readonly body?: string;
}

/** GET by https://distribution.github.io/distribution/spec/auth/token/, POST (for refresh tokens) by …/auth/oauth/ */
export function tokenRequest(realm: URL, { service, scope, login }: TokenWish): TokenRequest {
  const accept = 'application/json';
  if (login?.identityToken !== undefined) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: login.identityToken,
      client_id: 'holdfast',
      scope,
      ...(service === undefined ? {} : { service }),
    });
    const headers = { accept, 'content-type': 'application/x-www-form-urlencoded' };
    return { url: realm, method: 'POST', headers, body: form.toString() };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  // Several scopes of one challenge become several parameters.
  for (const one of scope.split(' ')) url.searchParams.append('scope', one);
  return { url, method: 'GET', headers: { accept, ...(login === undefined ? {} : { authorization: basicOf(login) }) } };
}

/** The token in the answer of a token service. @throws where there is none. */
export function tokenIn(body: Buffer): string {
  const { token, access_token: accessToken } = JSON.parse(body.toString('utf8')) as {
    readonly token?: unknown;
    readonly access_token?: unknown;
  };
  for (const one of [token, accessToken]) {
    if (typeof one === 'string' && /^[\x21-\x7e]+$/.test(one)) return one;
  }
  throw new Error('its token service gave no token');
}

export function basicOf({ username, password }: RegistryLogin): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}
