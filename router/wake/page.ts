/** Renders the waiting page: page.html with its values escaped, and a content security policy that lets nothing else run. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { LocalAnswer } from '../call/local-answer.ts';
import type { PageState } from './page-state.ts';

/** The template without its indentation; no string in it spans lines. */
const template = readFileSync(new URL('page.html', import.meta.url), 'utf8').replace(/\n\s+/g, '\n');
const policy = [
  "default-src 'none'",
  `script-src '${hashOf('script')}'`,
  `style-src '${hashOf('style')}'`,
  "connect-src 'self'",
  // The page has an empty icon, so that the browser does not ask the app for one.
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ');

/** Interval at which the page reloads itself without scripts. */
const refreshSecs = 5;
/** Use the absolute path for pages that are nested deeper than this. */
const maxDepth = 64;

/**
 * Renders the page with status 503 rather than 200: a crawler comes back later instead of indexing it, a cache stores nothing, a
 * monitor sees that the app did not answer, and a browser shows the page all the same.
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
 * The URL of a reserved path of the route, relative to a page of the route: a proxy in front may have stripped a prefix that only
 * the browser knows.
 */
export function reservedUrl(routePath: string, pagePath: string, reserved: string): string {
  const prefix = routePath === '/' ? '' : routePath;
  const [path = ''] = pagePath.split('?', 1);
  const depth = path.slice(prefix.length).split('/').length - 2;
  // The leading `.` keeps a segment with a colon from being read as a scheme.
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
