/**
 * What an app answers below a path that it does not know: the prefix that was stripped from the path of its calls is put before the
 * paths in the fields of its answer by which browsers go on, where the app has not done that itself by X-Forwarded-Prefix.
 *
 * Location, Content-Location and Refresh are what other proxies map too (nginx's proxy_redirect, Apache's ProxyPassReverse). Links in
 * bodies and in Link fields stay: they are pages' own, and a Link that differs from the page would load everything twice.
 */

import { Field } from './field-names.ts';
import type { RequestHead } from './request-head.ts';

/** Says where the app is mounted; asked only where an answer has one of these fields. */
export interface Mounted {
  mount(): Mount | undefined;
}

export interface MountRoute {
  readonly path: string;
  readonly prefixLocations?: false | undefined;
  readonly prefixCookies?: false | undefined;
}

/** Where an app is mounted, for one call. */
export interface Mount {
  /** As the client sees it: `/a/b`. */
  readonly prefix: string;
  /** Paths in Location, Content-Location and Refresh get the prefix. */
  readonly locations: boolean;
  /** Paths of cookies get the prefix. */
  readonly cookies: boolean;
  /** The hosts by which the app may name itself, in lower case: those of Host and X-Forwarded-Host. */
  readonly hosts: () => readonly string[];
  /** The path that the client asked for is the prefix itself, so that the default path of a cookie would be above the app. */
  readonly bare: boolean;
}

/** @param route has stripped its path from that of the call. */
export function mountOf(head: RequestHead, route: MountRoute): Mount {
  return {
    prefix: head.outerPrefix + route.path,
    locations: route.prefixLocations !== false,
    cookies: route.prefixCookies !== false,
    bare: head.path.charCodeAt(route.path.length) !== 0x2f,
    hosts() {
      const outer = head.peer.trusted ? head.field('x-forwarded-host') : undefined;
      const named = outer === undefined ? [] : outer.split(',').map((host) => host.trim());
      return [head.host, ...named].map((host) => host.toLowerCase());
    },
  };
}

/** @returns the value of a field for the client; undefined if it stays. */
export function mountedField(kind: number, value: string, mount: Mount | undefined): string | undefined {
  if (mount === undefined) return undefined;
  switch (kind) {
    case Field.location:
      return mount.locations ? mountedLocation(value, mount) : undefined;
    case Field.refresh:
      return mount.locations ? mountedRefresh(value, mount) : undefined;
    case Field.cookie:
      return mount.cookies ? mountedCookie(value, mount) : undefined;
    default:
      return undefined;
  }
}

/** @param value of Location or Content-Location. @returns the value for the client; undefined if it stays. */
export function mountedLocation(value: string, mount: Mount): string | undefined {
  const at = pathStart(value, mount);
  if (at < 0 || isBelow(value, at, mount.prefix)) return undefined;
  const rest = value.slice(at);
  return `${value.slice(0, at)}${mount.prefix}${rest.startsWith('/') ? '' : '/'}${rest}`;
}

/** @param value of Refresh: `5; url=/path`, https://html.spec.whatwg.org/#shared-declarative-refresh-steps */
export function mountedRefresh(value: string, mount: Mount): string | undefined {
  const [, before = '', url = '', after = ''] = /^([\d.]*[\s;,]*url\s*=\s*["']?)([^"']*)(.*)$/is.exec(value) ?? [];
  const mounted = url === '' ? undefined : mountedLocation(url, mount);
  return mounted === undefined ? undefined : `${before}${mounted}${after}`;
}

/** @param value of Set-Cookie. @returns the value for the client; undefined if it stays. RFC 6265 §5.2. */
export function mountedCookie(value: string, mount: Mount): string | undefined {
  // Browsers take it with Path=/ only, so it belongs to the whole host.
  if (/^\s*__Host-/i.test(value)) return undefined;
  const parts = value.split(';');
  // Browsers use the last one.
  const index = parts.findLastIndex((part, at) => at > 0 && /^\s*path\s*(=|$)/i.test(part));
  const path = index < 0 ? '' : (parts[index] ?? '').replace(/^[^=]*=?/, '').trim();
  if (!path.startsWith('/')) {
    // Its path is by default that of the call up to the last slash.
    return mount.bare ? `${value}; Path=${mount.prefix}` : undefined;
  }
  if (isBelow(path, 0, mount.prefix)) return undefined;
  // Without a slash at its end, which would leave the prefix itself out: RFC 6265 §5.1.4.
  parts[index] = ` Path=${mount.prefix}${path === '/' ? '' : path}`;
  return parts.join(';');
}

/** @returns where the path of a reference begins that leads to the app's own host; -1 for any other. RFC 3986 §4.1. */
function pathStart(reference: string, mount: Mount): number {
  if (isSlash(reference, 0) && !isSlash(reference, 1)) return 0;
  const [whole, scheme = '', authority = ''] = /^(https?:)?\/\/([^/?#\\]*)/i.exec(reference) ?? [];
  if (whole === undefined) return -1;
  const port = scheme.toLowerCase() === 'https:' ? /:443$/ : /:80$/;
  const host = authority.toLowerCase();
  const own = mount.hosts().some((one) => one === host || one.replace(port, '') === host.replace(port, ''));
  return own && authority !== '' ? whole.length : -1;
}

/** Whether the path at this offset is the prefix or below it. */
function isBelow(text: string, at: number, prefix: string): boolean {
  if (!text.startsWith(prefix, at)) return false;
  const next = text[at + prefix.length];
  return next === undefined || next === '/' || next === '?' || next === '#';
}

function isSlash(text: string, at: number): boolean {
  return text[at] === '/' || text[at] === '\\';
}
