/** Which calls are a person's, who looks at a page while it waits: everything else waits for the app. */
import type { RequestHead } from '../message/request-head.ts';

/** @param field value of a field of the head, by its name in lower case. */
export function isNavigation(head: RequestHead, field: (name: string) => string | undefined): boolean {
  if (head.method !== 'GET' || head.chunked || head.contentLength > 0 || head.upgrade !== undefined) return false;
  if (!acceptsHtml(field('accept'))) return false;
  const mode = field('sec-fetch-mode');
  const destination = field('sec-fetch-dest');
  if (mode !== undefined || destination !== undefined)
    return mode === 'navigate' && (destination ?? 'document') === 'document';
  // Over cleartext to another host browsers send no Sec-Fetch-* (https://www.w3.org/TR/fetch-metadata/), but this one, and with
  // navigations only (https://www.w3.org/TR/upgrade-insecure-requests/#preference): a script's own Accept does not tell.
  return field('upgrade-insecure-requests') === '1';
}

function acceptsHtml(accept: string | undefined): boolean {
  return (
    accept?.split(',').some((range) => {
      const [type = '', ...parameters] = range.split(';');
      if (type.trim().toLowerCase() !== 'text/html') return false;
      return !parameters.some((parameter) => /^\s*q=0(\.0*)?\s*$/i.test(parameter));
    }) ?? false
  );
}
