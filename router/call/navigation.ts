/** Recognises a person who opens a page in a browser. */
import type { RequestHead } from '../message/request-head.ts';

type NavigationHead = Pick<RequestHead, 'method' | 'chunked' | 'contentLength' | 'upgrade' | 'field'>;

/** Whether a waiting page can take the place of the answer. It is sure: all other calls are held. */
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

/** Whether an error is better told by a page than by JSON: HTML is asked for by name, and by nothing that shows no page. */
export function prefersPage(head: NavigationHead): boolean {
  if (head.method !== 'GET' && head.method !== 'HEAD') return false;
  if (head.chunked || head.contentLength > 0 || head.upgrade !== undefined) return false;
  const accept = head.field('accept');
  const html = quality(accept, /^text\/html$/);
  if (html === 0 || html < quality(accept, /^application\/([\w.-]+\+)?json$/)) return false;
  return (
    (head.field('sec-fetch-mode') ?? 'navigate') === 'navigate' &&
    (head.field('sec-fetch-dest') ?? 'document') === 'document'
  );
}

function acceptsHtml(accept: string | undefined): boolean {
  return quality(accept, /^text\/html$/) > 0;
}

/** The highest weight of a media type, RFC 9110 §12.4.2. @returns 0 if it is not named. */
function quality(accept: string | undefined, type: RegExp): number {
  let highest = 0;
  for (const range of accept?.split(',') ?? []) {
    const [name = '', ...parameters] = range.split(';');
    if (!type.test(name.trim().toLowerCase())) continue;
    const weight = parameters.map((parameter) => /^\s*q=([01](?:\.\d*)?)\s*$/i.exec(parameter)?.[1]).find(Boolean);
    highest = Math.max(highest, weight === undefined ? 1 : Number(weight));
  }
  return highest;
}
