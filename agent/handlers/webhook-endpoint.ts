/**
 * `POST /hooks/git` and `/hooks/git/<app>`: a git server reports a push, signed as GitHub, Gitea and Forgejo do. The webhook is only taken
 * as a reason to look: the commit of the ref is asked from the git server itself.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { AppError, toAppError } from '../../shared/errors.ts';
import { readBounded } from '../../shared/net/read-bounded.ts';
import { sendProblem } from '../../shared/problem.ts';
import { sourceKind } from '../../shared/protocol/app-spec.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { BodyBudget } from '../rpc/body-budget.ts';
import type { HttpEndpoint } from '../rpc/endpoint.ts';
import { repositoryKey } from '../source/git-url.ts';
import type { SyncApp } from '../source/sync.ts';

const maxBodyBytes = 1024 ** 2;
/** Bodies whose signature is not known yet are in memory as a whole. The oldest makes room, since whoever is slow may be nobody. */
const maxUnsignedBytes = 16 * maxBodyBytes;
const bodyTimeoutMs = 10_000;
const pathPattern = /^\/hooks\/git(?:\/([a-z0-9-]{1,63}))?$/;

/** The keys under which git servers put the URLs of a repository. */
const repository = z.looseObject({
  clone_url: z.string().optional(),
  ssh_url: z.string().optional(),
  git_url: z.string().optional(),
  html_url: z.string().optional(),
  url: z.string().optional(),
  git_http_url: z.string().optional(),
  git_ssh_url: z.string().optional(),
  default_branch: z.string().optional(),
});
const urlKeys = ['clone_url', 'ssh_url', 'git_url', 'html_url', 'url', 'git_http_url', 'git_ssh_url'] as const;
const push = z.looseObject({
  ref: z.string().optional(),
  repository: repository.optional(),
  project: repository.optional(),
});
type Push = z.output<typeof push>;

export function createWebhookEndpoint(deps: {
  readonly secret: string | undefined;
  /** @throws AppError not_leader */
  readonly apps: () => readonly SyncApp[];
  /** Looks these apps up soon, in the background. */
  readonly look: (apps: readonly string[]) => void;
  readonly clock: Clock;
  /** Called for each webhook that was taken or refused. */
  readonly audit: (request: IncomingMessage, outcome: 'ok' | AppError, apps: readonly string[]) => void;
}): HttpEndpoint {
  const { secret, apps, look, audit, clock } = deps;
  const bodies = new BodyBudget({ totalBytes: maxUnsignedBytes });

  async function take(request: IncomingMessage, app: string | undefined): Promise<string[]> {
    if (secret === undefined)
      throw new AppError('webhook_denied', 'webhooks are not enabled: set `webhook_secret_file` in [source]');
    const declaredBytes = Number(request.headers['content-length'] ?? 0);
    const body = await readUnsigned(request, declaredBytes);
    checkSignature(secret, body, request.headers['x-hub-signature-256']);
    const pushed = parsePush(body, request.headers['content-type'] ?? '');
    // An app that the URL names was chosen by whoever set up the webhook. Without a name, it is for the apps with `auto_sync`.
    return apps()
      .filter(({ name, spec }) => (app === undefined ? spec.auto_sync && isOf(spec.source, pushed) : name === app))
      .filter(({ spec }) => sourceKind(spec.source ?? '') === 'git' && concerns(spec.ref, pushed))
      .map(({ name }) => name);
  }

  async function readUnsigned(request: IncomingMessage, declaredBytes: number): Promise<Buffer> {
    let evicted: AppError | undefined;
    const end = (error: AppError): void => {
      evicted = error;
      request.destroy();
    };
    using held = bodies.open('webhooks', end);
    const late = (): AppError => new AppError('deadline_exceeded', 'the body of the webhook did not come in time');
    const stopTimer = clock.after(bodyTimeoutMs, () => end(late()));
    const onBytes = (bytes: number): void => held.add(bytes);
    try {
      const what = 'the body of the webhook';
      return await readBounded(request, { maxBytes: maxBodyBytes, what, declaredBytes, onBytes });
    } catch (error) {
      throw evicted ?? error;
    } finally {
      stopTimer();
    }
  }

  return {
    path: '/hooks',
    async handle(request, response) {
      const match = pathPattern.exec(request.url?.split('?', 1)[0] ?? '');
      if (match === null) throw new AppError('method_not_found', 'webhooks go to /hooks/git or /hooks/git/<app>');
      if (request.method !== 'POST') {
        const error = new AppError('invalid_request', 'webhooks need the method POST');
        sendProblem(response, error, { status: 405, headers: { Allow: 'POST', Connection: 'close' } });
        return;
      }
      const names = await take(request, match[1]).catch((error: unknown) => {
        audit(request, toAppError(error), []);
        throw error;
      });
      audit(request, 'ok', names);
      look(names);
      response.writeHead(202, { 'Content-Type': 'application/json' }).end(`${JSON.stringify({ apps: names })}\n`);
    },
  };
}

function checkSignature(secret: string, body: Buffer, header: string | string[] | undefined): void {
  const expected = createHmac('sha256', secret).update(body).digest();
  const given = Buffer.from(/^sha256=([0-9a-f]{64})$/i.exec(String(header))?.[1] ?? '', 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new AppError('webhook_denied', 'the signature in X-Hub-Signature-256 is missing or wrong');
}

/** @throws AppError invalid_request */
function parsePush(body: Buffer, type: string): Push {
  try {
    const text = body.toString('utf8');
    const isForm = type.toLowerCase().startsWith('application/x-www-form-urlencoded');
    return push.parse(JSON.parse(isForm ? (new URLSearchParams(text).get('payload') ?? '') : text));
  } catch (error) {
    throw new AppError('invalid_request', 'the webhook is not the JSON of a push', { cause: error });
  }
}

function isOf(source: string | undefined, pushed: Push): boolean {
  const key = repositoryKey(source ?? '');
  if (key === undefined) return false;
  return [pushed.repository, pushed.project].some((one) =>
    urlKeys.some((name) => one?.[name] !== undefined && repositoryKey(one[name]) === key),
  );
}

/** Whether the pushed ref may be the app's. A webhook without a ref (a ping) is not a push. */
function concerns(ref: string | undefined, pushed: Push): boolean {
  if (pushed.ref === undefined) return false;
  const name = pushed.ref.replace(/^refs\/(heads|tags)\//, '');
  if (ref !== undefined && ref !== 'HEAD') return ref === pushed.ref || ref === name;
  const branch = pushed.repository?.default_branch ?? pushed.project?.default_branch;
  return branch === undefined || branch === name;
}
