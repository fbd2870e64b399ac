/** The waiting page as bytes: page.html with what it shows, which only this file puts in, and fields that let nothing else run. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { LocalAnswer } from '../call/local-answer.ts';
import type { PageState } from './page-state.ts';

/** Without the indentation; no string in it goes over a line. */
const template = readFileSync(new URL('page.html', import.meta.url), 'utf8').replace(/\n\s+/g, '\n');
const policy = [
  "default-src 'none'",
  `script-src '${hashOf('script')}'`,
  `style-src '${hashOf('style')}'`,
  "connect-src 'self'",
  // Of the empty icon: the app, which is not there, is not asked for one.
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ');

/** Where there is no script, the page looks again so often. */
const refreshSecs = 5;
/** A route deeper than that is led to by its path from the root. */
const maxDepth = 64;

/**
 * 503 and not 200, because it is not what the address stands for: a crawler comes back later instead of indexing it, a cache
 * keeps nothing, a monitor sees that it was not the app, and a browser shows it all the same.
 */
export function waitingPage(state: Exclude<PageState, { state: 'go' }>, stream: string): LocalAnswer {
  const failed = state.state === 'failed';
  const retrySecs = failed ? state.retryAfterSecs : refreshSecs;
  const values: Record<string, string> = {
    title: state.title,
    text: state.text,
    detail: state.detail,
    state: state.state,
    step: String(state.step),
    stream,
    refresh: failed ? '' : `<noscript><meta http-equiv="refresh" content="${refreshSecs}"></noscript>`,
    [`current${state.step}`]: 'aria-current="step"',
  };
  const html = template.replace(/\{\{(\w+)\}\}/g, (_all, name: string) => {
    const value = values[name] ?? '';
    return name === 'refresh' || name.startsWith('current') ? value : escaped(value);
  });
  return {
    status: failed ? state.status : 503,
    fields: {
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-store',
      ...(retrySecs !== undefined && { 'Retry-After': String(retrySecs) }),
      'Content-Security-Policy': policy,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      'X-Robots-Tag': 'noindex',
    },
    body: Buffer.from(html),
  };
}

/**
 * What leads from a page of the route to what is reserved below the route. Relative, since a proxy before us may have taken
 * a prefix off that only the browser knows.
 */
export function reservedUrl(routePath: string, pagePath: string, reserved: string): string {
  const prefix = routePath === '/' ? '' : routePath;
  const [path = ''] = pagePath.split('?', 1);
  const depth = path.slice(prefix.length).split('/').length - 2;
  // `.` before it: a segment with a colon would be read as a scheme.
  if (depth < 0) return `./${prefix.slice(prefix.lastIndexOf('/') + 1)}${reserved}`;
  return depth > maxDepth ? `${prefix}${reserved}` : `.${'/..'.repeat(depth)}${reserved}`;
}

function hashOf(element: 'script' | 'style'): string {
  const content = new RegExp(`<${element}>([^]*)</${element}>`).exec(template)?.[1] ?? '';
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => entities[char] ?? '');
}
