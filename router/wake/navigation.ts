/** Recognises a person who opens a page in a browser, and can watch a waiting page. All other calls are held. */
import type { RequestHead } from '../message/request-head.ts';

type NavigationHead = Pick<RequestHead, 'method' | 'chunked' | 'contentLength' | 'upgrade' | 'field'>;

export function isNavigation(head: NavigationHead): boolean {
  if (head.method !== 'GET' || head.chunked || head.contentLength > 0 || head.upgrade !== undefined) return false;
  if (!acceptsHtml(head.field('accept'))) return false;
  const mode = head.field('sec-fetch-mode');
  const destination = head.field('sec-fetch-dest');
  if (mode !== undefined || destination !== undefined)
    return mode === 'navigate' && (destination ?? 'document') === 'document';
  // Over cleartext, browsers send no Sec-Fetch-* to hosts other than localhost (https://www.w3.org/TR/fetch-metadata/), but they send
  // this field, and only with navigations (https://www.w3.org/TR/upgrade-insecure-requests/#preference). Scripts can set Accept.
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
