/** Which calls are a person's, who looks at a page while it waits: everything else waits for the app. */
import type { RequestHead } from '../message/request-head.ts';

type NavigationHead = Pick<RequestHead, 'method' | 'chunked' | 'contentLength' | 'upgrade' | 'field'>;

export function isNavigation(head: NavigationHead): boolean {
  if (head.method !== 'GET' || head.chunked || head.contentLength > 0 || head.upgrade !== undefined) return false;
  if (!acceptsHtml(head.field('accept'))) return false;
  const mode = head.field('sec-fetch-mode');
  const destination = head.field('sec-fetch-dest');
  if (mode !== undefined || destination !== undefined)
    return mode === 'navigate' && (destination ?? 'document') === 'document';
  // Over cleartext to another host browsers send no Sec-Fetch-* (https://www.w3.org/TR/fetch-metadata/), but this one, and with
  // navigations only (https://www.w3.org/TR/upgrade-insecure-requests/#preference): a script's own Accept does not tell.
  return head.field('upgrade-insecure-requests') === '1';
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
