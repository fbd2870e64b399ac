/**
 * The front page: what a browser gets at an address that no app has. With `[router] directory` it lists the apps; otherwise it says
 * nothing about them. Programs get the problem of the router, as everywhere.
 */
import type { Call } from '../call/call.ts';
import type { LocalAnswers } from '../call/local-answer.ts';
import { prefersPage } from '../call/navigation.ts';
import type { Directory } from './directory.ts';
import { renderFront } from './render.ts';

export interface FrontPageDeps {
  readonly local: Pick<LocalAnswers, 'send'>;
  /** Undefined where no app may be named. */
  readonly directory: Directory | undefined;
  /** Monotonic, in ms; it must not stand still during a turn. */
  readonly now: () => number;
}

/** Time that lists may take in a second; then pages come without one, until the second is over. */
const budgetMs = 100;
const secondMs = 1_000;
const maxFilterLength = 100;

export class FrontPage {
  readonly #deps: FrontPageDeps;
  #secondEndsMs = -Infinity;
  #spentMs = 0;

  constructor(deps: FrontPageDeps) {
    this.#deps = deps;
  }

  /** Answers a call that no app has, if a browser shows the answer. @returns whether it did. */
  answers(call: Call): boolean {
    const { head } = call;
    if (!prefersPage(head)) return false;
    const { directory, now, local } = this.#deps;
    const query = new URLSearchParams(head.path.slice(queryStart(head.path)));
    const filter = (query.get('q') ?? '').trim().slice(0, maxFilterLength);
    const startedMs = now();
    if (startedMs >= this.#secondEndsMs) {
      this.#secondEndsMs = startedMs + secondMs;
      this.#spentMs = 0;
    }
    const affordable = this.#spentMs < budgetMs;
    const listing = affordable ? directory?.list(filter, pageOf(query.get('page'))) : undefined;
    const place = placeOf(call);
    local.send(call, renderFront({ ...place, filter, listing, busy: directory !== undefined && !affordable }));
    if (listing !== undefined) this.#spentMs += now() - startedMs;
    return true;
  }
}

/** Where the client sees this page; a proxy that is trusted says what it has replaced. */
function placeOf({ head }: Call): { readonly host: string; readonly path: string; readonly prefix: string } {
  const forwarded = head.peer.trusted ? head.firstField('x-forwarded-host')?.split(',', 1)[0]?.trim() : undefined;
  const host = forwarded !== undefined && /^[\w.:[\]-]{1,255}$/.test(forwarded) ? forwarded : head.host;
  const end = queryStart(head.path);
  return { host, path: head.path.slice(0, end), prefix: head.outerPrefix };
}

function queryStart(path: string): number {
  const at = path.indexOf('?');
  return at < 0 ? path.length : at;
}

function pageOf(text: string | null): number {
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) : 1;
}
