/** Pages of a registry's list of tags. https://distribution.github.io/distribution/spec/api/#listing-image-tags */
import { z } from 'zod';

const page = z.object({ tags: z.array(z.string().max(128)).nullable().default([]) });

/** Throws where it is no such list. */
export function tagsIn(body: Buffer): readonly string[] {
  const parsed = page.safeParse(JSON.parse(body.toString('utf8')));
  if (!parsed.success) throw new Error('its list of tags is not one');
  return parsed.data.tags ?? [];
}

/** The target of `Link: <…>; rel="next"` (RFC 8288), as a path: the next page is never on another host. */
export function nextPage(link: string, path: string): string | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(link)?.[1];
  if (target === undefined) return undefined;
  const url = URL.parse(target, `http://registry.invalid${path}`);
  return url === null ? undefined : url.pathname + url.search;
}
