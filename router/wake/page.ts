/** Renders the waiting page from page.html. */
import type { LocalAnswer } from '../call/local-answer.ts';
import { readTemplate } from '../call/page-template.ts';
import type { PageState } from './page-state.ts';

const template = readTemplate(new URL('page.html', import.meta.url), [
  "connect-src 'self'",
  "form-action 'none'",
  "frame-ancestors 'self'",
]);

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
  };
  const html = {
    refresh: failed ? '' : `<noscript><meta http-equiv="refresh" content="${refreshSecs}"></noscript>`,
    [`current${state.step}`]: 'aria-current="step"',
  };
  return {
    status: failed ? state.status : 503,
    fields: { ...template.fields, ...(retrySecs !== undefined && { 'Retry-After': String(retrySecs) }) },
    body: template.render(values, html),
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
