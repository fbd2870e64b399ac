/** Serves health and metrics on a separate port, so that they stay available while the main port drains. */
import { createServer, type ServerResponse } from 'node:http';
import { listen } from './listen.ts';

/** The part of `Registry` of `@prometheus-io/client` that the admin server needs. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

interface Health {
  readonly ok: boolean;
  readonly reason: string;
}

export interface AdminServerDeps {
  readonly host: string;
  /** Port 0 selects a free port. */
  readonly port: number;
  readonly registry: MetricsSource;
  /** Whether the process should receive calls, and why not. Called for each `/readyz`. */
  readonly ready: () => Health | Promise<Health>;
  /** Whether the process works; if not, it will be restarted. Without it, `/livez` always answers 200. */
  readonly live?: (() => Health) | undefined;
  /** Additional pages by path. What a page returns is served as JSON; an error is answered with 400 and its message. */
  readonly pages?: Readonly<Record<string, (query: URLSearchParams) => unknown>>;
}

export type AdminServer = Awaited<ReturnType<typeof startAdminServer>>;

/** Serves `/livez`, `/readyz`, `/metrics` and `pages`. Rejects if the port is in use. */
export async function startAdminServer(deps: AdminServerDeps) {
  const server = createServer({ keepAliveTimeout: 5_000, headersTimeout: 5_000, requestTimeout: 5_000 }, (req, res) => {
    const [path = '', query = ''] = req.url?.split('?', 2) ?? [];
    const page = deps.pages !== undefined && Object.hasOwn(deps.pages, path) ? deps.pages[path] : undefined;
    req.resume();
    if (req.method !== 'GET' && req.method !== 'HEAD') answer(res, 405, 'method not allowed\n');
    else if (path === '/livez') tell(res, deps.live?.() ?? { ok: true, reason: 'ok' });
    else if (path === '/readyz') void tellLater(res, deps.ready);
    else if (path === '/metrics') {
      deps.registry.metrics().then(
        (text) => answer(res, 200, text, deps.registry.contentType),
        () => answer(res, 500, 'metrics could not be collected\n'),
      );
    } else if (page !== undefined) void show(res, page, query);
    else answer(res, 404, 'not found\n');
  });
  server.maxConnections = 256;
  const { port } = await listen(server, deps);
  return {
    port,
    close: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function tell(res: ServerResponse, { ok, reason }: Health): void {
  answer(res, ok ? 200 : 503, `${reason}\n`);
}

/** Never rejects. */
async function tellLater(res: ServerResponse, ask: AdminServerDeps['ready']): Promise<void> {
  try {
    tell(res, await ask());
  } catch (error) {
    tell(res, { ok: false, reason: error instanceof Error ? error.message : String(error) });
  }
}

/** Never rejects. */
async function show(res: ServerResponse, page: (query: URLSearchParams) => unknown, query: string): Promise<void> {
  let body;
  try {
    body = JSON.stringify(await page(new URLSearchParams(query)));
  } catch (error) {
    answer(res, 400, `${error instanceof Error ? error.message : String(error)}\n`);
    return;
  }
  answer(res, 200, `${body}\n`, 'application/json');
}

function answer(res: ServerResponse, status: number, body: string, contentType = 'text/plain; charset=utf-8'): void {
  res.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  res.end(res.req.method === 'HEAD' ? undefined : body);
}
