/** `WWW-Authenticate` of registries. RFC 9110 §11.6.1, https://distribution.github.io/distribution/spec/auth/token/ */

export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer';
      readonly realm: string;
      readonly service: string | undefined;
      readonly scope: string | undefined;
    };

/** @returns the first challenge that can be answered. */
export function parseChallenge(header: string): Challenge | undefined {
  const bearer = /(?:^|,)\s*bearer\s+(.*)$/i.exec(header)?.[1];
  if (bearer !== undefined) {
    const params = new Map<string, string>();
    for (const match of bearer.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)) {
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
