/** Names of Python packages. */

/** Returns the name in a requirement, normalized as in PEP 503; `''` if it has none. */
export function nameOf(requirement: string): string {
  const egg = /[#&]egg=([A-Za-z0-9._-]+)/.exec(requirement)?.[1];
  const isAddress = /^[a-z0-9+]+:\/\//i.test(requirement);
  const name = isAddress ? (egg ?? '') : (/^[A-Za-z0-9][A-Za-z0-9._-]*/.exec(requirement)?.[0] ?? '');
  return name.toLowerCase().replaceAll(/[-_.]+/g, '-');
}

/** Returns the extras in a requirement: `['c']` of `psycopg[c]>=3`. */
export function extrasOf(requirement: string): string[] {
  const list = /^[A-Za-z0-9._-]+\s*\[([^\]]*)\]/.exec(requirement)?.[1] ?? '';
  return list.split(',').map((one) => one.trim().toLowerCase());
}
