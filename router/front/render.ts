/** Renders the front page from front.html. */
import type { Route } from '../../shared/protocol/routes.ts';
import type { LocalAnswer } from '../call/local-answer.ts';
import { escaped, readTemplate } from '../call/page-template.ts';
import type { Listing } from './directory.ts';

export interface FrontView {
  /** Host with its port, and path without a query, as the client sees them. */
  readonly host: string;
  readonly path: string;
  /** The prefix that a proxy has stripped from the path. */
  readonly prefix: string;
  readonly filter: string;
  /** Undefined: no app is named. */
  readonly listing: Listing | undefined;
  /** Lists have taken too much time lately. */
  readonly busy: boolean;
}

const template = readTemplate(new URL('front.html', import.meta.url), ["form-action 'self'", "frame-ancestors 'none'"]);
/** A filter helps from this number of apps on. */
const filterFrom = 8;
const maxShownLength = 200;

export function renderFront(view: FrontView): LocalAnswer {
  const { listing, path, prefix, host } = view;
  const isHome = path === '/';
  const status = isHome && listing !== undefined ? 200 : 404;
  const address = shortened(`${host}${prefix}${path}`);
  const title = isHome && listing !== undefined ? 'Holdfast' : 'No app is here';
  const body = template.render(
    { title },
    {
      lead: leadOf(view, address),
      content: listing === undefined ? hintOf(view) : listOf(view, listing),
    },
  );
  const fields = { ...template.fields, Vary: 'Accept, Sec-Fetch-Mode, Sec-Fetch-Dest' };
  return { status, fields: view.busy ? { ...fields, 'Retry-After': '1' } : fields, body };
}

function leadOf({ listing, path }: FrontView, address: string): string {
  if (path === '/' && listing !== undefined) {
    if (listing.total === 0) return 'It runs, and waits for your first app.';
    const count = listing.total === 1 ? 'One app is here' : `${listing.total.toLocaleString('en')} apps are here`;
    return `${count}. An app that is asleep starts when you open it.`;
  }
  return `Nothing answers at <b>${escaped(address)}</b>.`;
}

function hintOf({ busy }: FrontView): string {
  if (busy)
    return '<p class="note">Too many people look at the list of apps right now. Reload this page in a second.</p>';
  return '<p class="note">Check the address. If it should work, ask the people who run this site.</p>';
}

function listOf(view: FrontView, listing: Listing): string {
  if (listing.total === 0) {
    return (
      '<p class="note">Deploy a folder with a web app in it:</p><pre><code>holdfast deploy ./my-app</code></pre>' +
      '<p class="note">Then reload this page.</p>'
    );
  }
  const rows = listing.routes.map((route) => rowOf(route, view)).join('');
  const none = `<p class="note">No app fits <b>${escaped(view.filter)}</b>. <a href="${homeOf(view)}">Show all</a></p>`;
  return formOf(view, listing) + (rows === '' ? none : `<ul>${rows}</ul>`) + pagesOf(view, listing);
}

function formOf(view: FrontView, { total }: Listing): string {
  if (total < filterFrom && view.filter === '') return '';
  return (
    `<form role="search" action="${homeOf(view)}"><input type="search" name="q" value="${escaped(view.filter)}" maxlength="100" ` +
    'placeholder="Name or address" aria-label="Filter by name or address" autocomplete="off"><button>Filter</button></form>'
  );
}

function rowOf(route: Route, view: FrontView): string {
  const [state, label] = stateOf(route);
  const { href, text } = linkOf(route, view);
  const name = `<span class="name">${escaped(route.app)}</span><span class="where">${escaped(text)}</span>`;
  const badge = `<span class="state ${state}">${label}</span>`;
  return href === undefined
    ? `<li><div>${name}${badge}</div></li>`
    : `<li><a href="${escaped(href)}">${name}${badge}</a></li>`;
}

function stateOf({ serving }: Route): readonly [name: string, label: string] {
  switch (serving.state) {
    case 'ready':
      return ['live', 'live'];
    case 'failed':
      return ['failed', 'failed'];
    case 'hold':
      return serving.reason === 'starting' ? ['starting', 'starting'] : ['asleep', 'asleep'];
  }
}

/** The link for a client that sees this page at `host`; none for an app that has all names below a domain, unless it is one of them. */
function linkOf({ host, path }: Route, view: FrontView): { readonly href: string | undefined; readonly text: string } {
  const [name = '', port = ''] = splitHost(view.host);
  const own = `${view.prefix}${path}`;
  const here = name.toLowerCase();
  if (host === '' || host === here || (host.startsWith('*.') && here.endsWith(host.slice(1)))) {
    return { href: own, text: `${name}${port}${own}` };
  }
  const shownPath = path === '/' ? '' : path;
  if (host.startsWith('*.')) return { href: undefined, text: `${host}${shownPath}` };
  return { href: `//${host}${port}${path}`, text: `${host}${port}${shownPath}` };
}

function splitHost(host: string): readonly string[] {
  const port = /:\d+$/.exec(host)?.[0] ?? '';
  return [host.slice(0, host.length - port.length), port];
}

function pagesOf(view: FrontView, { page, pages, found }: Listing): string {
  if (pages === 1) return '';
  const link = (to: number, text: string, rel: string): string => {
    if (to < 1 || to > pages) return `<span>${text}</span>`;
    const query = new URLSearchParams({ ...(view.filter !== '' && { q: view.filter }), page: String(to) });
    return `<a rel="${rel}" href="${homeOf(view)}?${escaped(query.toString())}">${text}</a>`;
  };
  return (
    `<nav aria-label="Pages">${link(page - 1, '← Previous', 'prev')}` +
    `<span>${page} of ${pages} · ${found.toLocaleString('en')} apps</span>${link(page + 1, 'Next →', 'next')}</nav>`
  );
}

/** The page with the list, where any path without an app leads to this router. */
function homeOf({ prefix }: FrontView): string {
  return `${escaped(prefix)}/`;
}

function shortened(text: string): string {
  return text.length > maxShownLength ? `${text.slice(0, maxShownLength)}…` : text;
}
