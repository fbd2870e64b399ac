/**
 * Serves build contexts to build pods: `GET /contexts/<token>` streams the tree of one build as tar.gz. A token is valid for one
 * build and one complete transfer. Only hashes of tokens are kept.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { sendProblem } from '../../shared/problem.ts';
import type { HttpEndpoint } from '../rpc/endpoint.ts';
import type { BuildContext } from './build-context.ts';

export const contextsPath = '/contexts';

/** @returns a token, and its hash, which may be stored where others can read it. */
export function createContextToken(): { readonly token: string; readonly tokenHash: string } {
  const token = randomBytes(32).toString('base64url');
  return { token, tokenHash: hashOf(token) };
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

interface Entry {
  readonly context: BuildContext;
  used: boolean;
  transfer: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
}

/** A reader that takes nothing for this long is gone. */
const stallMs = 60_000;
/** Pause for a client with an unknown token: this agent may be about to find the build again. */
const retryAfterMs = 1_000;

export function createContexts(deps: {
  /** As tar.gz. */
  readonly pack: (context: BuildContext, signal: AbortSignal) => Promise<Readable>;
  readonly log: Log;
}) {
  const { pack, log } = deps;
  const entries = new Map<string, Entry>();

  async function send(entry: Entry, response: ServerResponse, signal: AbortSignal): Promise<void> {
    response.setTimeout(stallMs, () => response.destroy());
    try {
      const archive = await pack(entry.context, signal);
      response.writeHead(200, { 'Content-Type': 'application/gzip', 'Cache-Control': 'no-store' });
      await pipeline(archive, response, { signal });
      entry.used = true;
    } catch (error) {
      // The reader sees a broken transfer and tries again.
      response.destroy();
      if (!signal.aborted) log.warn({ err: toAppError(error) }, 'the transfer of a build context broke off');
    }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET') {
      const error = new AppError('invalid_request', `${contextsPath} takes GET`);
      sendProblem(response, error, { status: 405, headers: { Allow: 'GET' } });
      return;
    }
    const token = /^\/contexts\/([A-Za-z0-9_-]{43})$/.exec(request.url ?? '')?.[1];
    if (token === undefined)
      throw new AppError('build_not_found', 'the path does not end with the token of a build context');
    const tokenHash = hashOf(token);
    const entry = entries.get(tokenHash);
    if (entry === undefined) {
      refuseUnknown(response);
      return;
    }
    // The newest reader wins: an older one with this token may be a connection that broke unnoticed.
    while (entry.transfer !== undefined) {
      entry.transfer.stop.abort();
      await entry.transfer.done;
    }
    if (entry.used) {
      sendProblem(response, new AppError('build_not_found', 'this build context was fetched already'), { status: 410 });
      return;
    }
    // The build ended meanwhile, and its tree may be gone.
    if (entries.get(tokenHash) !== entry) {
      refuseUnknown(response);
      return;
    }
    if (response.destroyed) return;
    const stop = new AbortController();
    const done = send(entry, response, stop.signal).finally(() => {
      entry.transfer = undefined;
    });
    entry.transfer = { stop, done };
    await done;
  }

  function refuseUnknown(response: ServerResponse): void {
    const message = 'no build with this token is under way on this agent yet';
    sendProblem(response, new AppError('build_not_found', message, { retryAfterMs }), { status: 503 });
  }

  const endpoint: HttpEndpoint = { path: contextsPath, handle };
  return {
    endpoint,
    /** Makes the context available to the token with this hash. `close` ends that, and any transfer under way. */
    open(tokenHash: string, context: BuildContext): { close(): Promise<void> } {
      const entry: Entry = { context, used: false, transfer: undefined };
      entries.set(tokenHash, entry);
      return {
        async close() {
          if (entries.get(tokenHash) === entry) entries.delete(tokenHash);
          entry.transfer?.stop.abort();
          await entry.transfer?.done;
        },
      };
    },
  };
}

export type Contexts = ReturnType<typeof createContexts>;
