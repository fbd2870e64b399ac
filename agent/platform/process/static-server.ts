/**
 * A program that serves static files: `node static-server.ts FOLDER…` serves the first folder that has an index.html, on PORT of the
 * loopback address. It does for the process platform what nginx does in the image of the preset `static`.
 */
import { existsSync, realpathSync } from 'node:fs';
import { open, readdir, realpath } from 'node:fs/promises';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { basename, extname, join, resolve, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';

const types: Readonly<Record<string, string>> = {
  '.avif': 'image/avif',
  '.css': 'text/css; charset=utf-8',
  '.gif': 'image/gif',
  '.htm': 'text/html; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.mp4': 'video/mp4',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.webp': 'image/webp',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.xml': 'text/xml; charset=utf-8',
};

/**
 * @param folder absolute.
 * @param fallback the page for navigations to paths without a file, such as `index.html` in a single-page app.
 */
export function createStaticServer(folder: string, fallback?: string): Server {
  const root = realpathSync(folder);
  return createServer((request, response) => {
    answer({ root, fallback }, request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
}

interface StaticSite {
  readonly root: string;
  readonly fallback: string | undefined;
}

async function answer(
  { root, fallback }: StaticSite,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('cache-control', 'no-cache');
  response.setHeader('x-content-type-options', 'nosniff');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  const path = pathOf(request.url ?? '/');
  const found = path === undefined ? undefined : await find(root, path);
  if (found?.kind === 'folder') {
    // Relative, because the path that clients use may have a prefix that the router strips.
    const query = /\?.*$/.exec(request.url ?? '')?.[0] ?? '';
    response.writeHead(301, { location: `./${encodeURIComponent(basename(path ?? ''))}/${query}` }).end();
    return;
  }
  if (found !== undefined) return send(found.path, 200, request, response);
  if (fallback !== undefined && path !== undefined && wantsPage(path, request))
    return send(join(root, fallback), 200, request, response);
  const page = join(root, '404.html');
  if ((await kindOf(root, page)) === 'file') return send(page, 404, request, response);
  response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('not found\n');
}

/** Whether a browser wants a page: by what it accepts, or any program that asks for a path without an ending. */
function wantsPage(path: string, { headers: { accept = '' } }: IncomingMessage): boolean {
  if (accept.includes('text/html')) return true;
  return (accept === '' || accept === '*/*') && !basename(path).includes('.');
}

/** The page for navigations to paths without a file, as the image of the preset `static` chooses it. */
export async function fallbackOf(folder: string, spa: 'auto' | 'true' | 'false'): Promise<string | undefined> {
  if (spa === 'false') return undefined;
  if (existsSync(join(folder, '200.html'))) return '200.html';
  if (spa === 'true') return 'index.html';
  if (existsSync(join(folder, '404.html'))) return undefined;
  const pages = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.html'));
  return pages.length === 1 ? 'index.html' : undefined;
}

/** The decoded path; undefined for what is refused: dot files (except .well-known, RFC 8615), NUL and backslashes. */
function pathOf(url: string): string | undefined {
  let path: string;
  try {
    path = decodeURIComponent(url.split('?', 1)[0] ?? '/');
  } catch {
    return undefined;
  }
  const segments = path.split('/');
  const isHidden = segments.some((segment) => segment.startsWith('.') && segment !== '.well-known');
  return isHidden || path.includes('\0') || path.includes('\\') ? undefined : path;
}

type Found = { readonly kind: 'file'; readonly path: string } | { readonly kind: 'folder' };

async function find(root: string, path: string): Promise<Found | undefined> {
  const file = join(root, path);
  const kind = await kindOf(root, file);
  if (kind === 'folder' && !path.endsWith('/')) return { kind: 'folder' };
  const candidates = kind === 'folder' ? [join(file, 'index.html')] : path.endsWith('/') ? [] : [file, `${file}.html`];
  for (const candidate of candidates)
    if ((await kindOf(root, candidate)) === 'file') return { kind: 'file', path: candidate };
  return undefined;
}

/** Undefined if nothing exists at the path, or if a link leads outside the folder. */
async function kindOf(root: string, path: string): Promise<'file' | 'folder' | undefined> {
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined || (real !== root && !real.startsWith(root + sep))) return undefined;
  const handle = await open(real, 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const found = await handle.stat();
    if (found.isDirectory()) return 'folder';
    return found.isFile() ? 'file' : undefined;
  } finally {
    await handle.close();
  }
}

async function send(path: string, status: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const handle = await open(path, 'r');
  const { size, mtimeMs } = await handle.stat();
  const tag = `"${Math.round(mtimeMs).toString(36)}-${size.toString(36)}"`;
  response.setHeader('etag', tag);
  response.setHeader('content-type', types[extname(path).toLowerCase()] ?? 'application/octet-stream');
  if (status === 200 && matches(request.headers['if-none-match'], tag)) {
    await handle.close();
    response.writeHead(304).end();
    return;
  }
  response.writeHead(status, { 'content-length': size });
  if (request.method === 'HEAD') {
    await handle.close();
    response.end();
    return;
  }
  await pipeline(handle.createReadStream({ end: Math.max(0, size - 1) }), response).catch(() => response.destroy());
}

function matches(header: string | undefined, tag: string): boolean {
  return header?.split(',').some((one) => one.trim().replace(/^W\//, '') === tag) ?? false;
}

if (import.meta.main) {
  const folders = process.argv
    .slice(2)
    .filter((word) => !word.startsWith('--'))
    .map((folder) => resolve(folder));
  const site = folders.find((folder) => existsSync(join(folder, 'index.html')));
  if (site === undefined) {
    process.stderr.write(`no index.html is in ${folders.join(', ')}\n`);
    process.exit(1);
  }
  const given = /^--spa=(auto|true|false)$/.exec(process.argv[2] ?? '')?.[1];
  const spa = given === 'auto' || given === 'true' ? given : 'false';
  const server = createStaticServer(site, await fallbackOf(site, spa));
  server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
    process.stdout.write(`serving ${site}\n`);
  });
  process.once('SIGTERM', () => {
    server.close();
    server.closeIdleConnections();
  });
}
