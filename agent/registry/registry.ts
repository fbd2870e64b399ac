/** A client of image registries: looks up digests, lists tags and deletes manifests. https://distribution.github.io/distribution/spec/api/ */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { systemClock, type Clock } from '../../shared/wait/clock.ts';
import { AppError, type FailurePhase } from '../../shared/errors.ts';
import { reasonOf } from './connection-error.ts';
import { createConversations, type Conversation, type OwnRegistry, type RegistryAnswer } from './conversation.ts';
import { createCredentials, type RegistryCredentials } from './credentials.ts';
import { parseImage } from './reference.ts';

export interface RegistryDeps {
  readonly own: OwnRegistry | undefined;
  readonly others?: readonly OwnRegistry[];
  /** Without it, the user of `own`. */
  readonly credentials?: RegistryCredentials | undefined;
  readonly clock?: Clock;
}

const questionBudgetMs = 5_000;
const listBudgetMs = 30_000;
const maxTags = 100_000;

/** Indexes come first: the digest of a multi-platform image is that of its index. */
const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/** https://distribution.github.io/distribution/spec/api/#listing-image-tags */
const tagPage = z.object({ tags: z.array(z.string().max(128)).nullable().default([]) });

/** What a request is about. */
interface Subject {
  readonly image: string;
  readonly host: string;
  readonly repository: string;
  readonly phase: FailurePhase;
  readonly action: 'pull' | 'delete';
  readonly budgetMs: number;
}

export function createRegistry({ own, others = [], credentials, clock = systemClock }: RegistryDeps) {
  const conversations = createConversations({ own, others, credentials: credentials ?? fixedCredentials(own), clock });

  /** Runs a task within its time budget, and turns its errors into AppErrors. */
  async function converse<T>(
    subject: Subject,
    signal: AbortSignal,
    task: (conversation: Conversation) => Promise<T>,
  ): Promise<T> {
    const { host, repository, action, budgetMs } = subject;
    const either = AbortSignal.any([signal, AbortSignal.timeout(budgetMs)]);
    try {
      return await task(conversations.open({ host, repository, action, budgetMs, signal: either }));
    } catch (error) {
      if (error instanceof AppError) throw error;
      if (signal.aborted) throw new AppError('cancelled', 'the registry was not waited for', { cause: error });
      throw unavailable(subject, reasonOf(error, budgetMs), error);
    }
  }

  async function ask(image: string, phase: FailurePhase, signal: AbortSignal): Promise<string | undefined> {
    const reference = parseImage(image);
    const subject: Subject = { ...reference, image, phase, action: 'pull', budgetMs: questionBudgetMs };
    const path = `/v2/${reference.repository}/manifests/${reference.digest ?? reference.tag}`;
    return await converse(subject, signal, (conversation) => digestOf(conversation, path, subject));
  }

  return {
    /**
     * @returns `sha256:…`; a digest in the reference is returned without asking the registry.
     * @throws AppError image_not_found, image_denied, image_invalid, registry_unavailable; cancelled by the signal.
     */
    async digest(image: string, signal: AbortSignal): Promise<string> {
      const { digest, host } = parseImage(image);
      if (digest !== undefined) return digest;
      const found = await ask(image, 'pull', signal);
      if (found === undefined) {
        throw new AppError('image_not_found', `${host} has no image ${image}`, { phase: 'pull' });
      }
      return found;
    },
    /**
     * @returns the digest that the image's tag has now, undefined if the registry has no such image.
     * @throws AppError as `digest`, without image_not_found.
     */
    exists: (image: string, signal: AbortSignal) => ask(image, 'build', signal),
    /**
     * @returns the tags of `host[:port]/path`, sorted; none if there is no such repository.
     * @throws AppError as `exists`.
     */
    async tags(repository: string, signal: AbortSignal): Promise<string[]> {
      const subject = aboutRepository(repository, 'pull', listBudgetMs);
      return await converse(subject, signal, (conversation) => allTags(conversation, subject));
    },
    /**
     * Deletes a manifest of `host[:port]/path` by its digest, and with it every tag that leads to it. It is no error if it is gone.
     * @throws AppError as `exists`; image_denied also if the registry does not support deletion.
     */
    async deleteManifest(repository: string, digest: string, signal: AbortSignal): Promise<void> {
      const subject = aboutRepository(`${repository}@${digest}`, 'delete', questionBudgetMs);
      const path = `/v2/${subject.repository}/manifests/${digest}`;
      await converse(subject, signal, async (conversation) => {
        const answer = await conversation.send({ method: 'DELETE', path, accept: 'application/json' });
        if (answer.status === 202 || answer.status === 200 || answer.status === 404) return;
        throw isUnsupported(answer) ? undeletable(subject) : refusal(subject, conversation, answer.status);
      });
    },
    close: () => conversations.close(),
  };
}

export type Registry = ReturnType<typeof createRegistry>;

function fixedCredentials(own: OwnRegistry | undefined): RegistryCredentials {
  const login = own?.username === undefined ? undefined : { username: own.username, password: own.password ?? '' };
  return createCredentials({ own: own && { host: own.host, login }, file: undefined, tokens: undefined });
}

function aboutRepository(name: string, action: Subject['action'], budgetMs: number): Subject {
  const { host, repository } = parseImage(name);
  return { image: name, host, repository, phase: 'build', action, budgetMs };
}

async function digestOf(conversation: Conversation, path: string, subject: Subject): Promise<string | undefined> {
  const head = await conversation.send({ method: 'HEAD', path, accept: manifestTypes });
  const announced = head.header('docker-content-digest');
  if (head.status === 200 && announced !== '') return checked(announced, subject);
  if (head.status === 404) return undefined;
  // Some registries refuse HEAD, or leave the digest out of its answer.
  if (head.status !== 200 && head.status !== 405) throw refusal(subject, conversation, head.status);
  const answer = await conversation.send({ method: 'GET', path, accept: manifestTypes });
  if (answer.status === 404) return undefined;
  if (answer.status !== 200) throw refusal(subject, conversation, answer.status);
  const header = answer.header('docker-content-digest');
  return header === '' ? `sha256:${createHash('sha256').update(answer.body).digest('hex')}` : checked(header, subject);
}

async function allTags(conversation: Conversation, subject: Subject): Promise<string[]> {
  const tags = new Set<string>();
  let path: string | undefined = `/v2/${subject.repository}/tags/list?n=1000`;
  while (path !== undefined) {
    const answer = await conversation.send({ method: 'GET', path, accept: 'application/json' });
    if (answer.status === 404) break;
    if (answer.status !== 200) throw refusal(subject, conversation, answer.status);
    const before = tags.size;
    for (const tag of tagsIn(answer.body)) tags.add(tag);
    if (tags.size > maxTags) throw unavailable(subject, `it has more than ${String(maxTags)} tags`);
    path = nextPage(answer.header('link'), path);
    if (path !== undefined && tags.size === before) throw unavailable(subject, 'its list of tags does not end');
  }
  return [...tags].sort();
}

/** @throws if the body is no list of tags. */
function tagsIn(body: Buffer): readonly string[] {
  const parsed = tagPage.safeParse(JSON.parse(body.toString('utf8')));
  if (!parsed.success) throw new Error('its answer is no list of tags');
  return parsed.data.tags ?? [];
}

/** The target of `Link: <…>; rel="next"` (RFC 8288), as a path: the next page is never on another host. */
function nextPage(link: string, path: string): string | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(link)?.[1];
  if (target === undefined) return undefined;
  const url = URL.parse(target, `http://registry.invalid${path}`);
  return url === null ? undefined : url.pathname + url.search;
}

/** Whether the registry does not support deletion, which it says by its status or by a code of the specification. */
function isUnsupported({ status, body }: RegistryAnswer): boolean {
  return status === 405 || (status === 400 && body.includes('"UNSUPPORTED"'));
}

function undeletable({ host, phase }: Subject): AppError {
  const how = 'where it is distribution, set REGISTRY_STORAGE_DELETE_ENABLED=true';
  return new AppError('image_denied', `${host} does not allow images to be deleted: ${how}`, { phase });
}

function refusal(subject: Subject, { own, authorized }: Conversation, status: number): AppError {
  const { host, image, phase } = subject;
  if (status === 401 || status === 403) {
    // The nodes may have credentials for another registry that the agent does not have: they will try.
    if (!own && !authorized) return unavailable(subject, 'it asks for credentials that the agent does not have');
    const why = authorized ? "it does not accept the agent's credentials" : 'the agent has no credentials for it';
    return new AppError('image_denied', `${host} refuses access to ${image}: ${why}`, { phase });
  }
  if (status === 400) return new AppError('image_invalid', `${host} does not accept the name ${image}`, { phase });
  return unavailable(subject, `it answered ${String(status)}`);
}

function unavailable({ host, image, phase }: Subject, why: string, cause?: unknown): AppError {
  return new AppError('registry_unavailable', `could not ask ${host} for ${image}: ${why}`, { phase, cause });
}

function checked(digest: string, subject: Subject): string {
  if (/^sha256:[0-9a-f]{64}$/.test(digest)) return digest;
  throw unavailable(subject, 'its digest is not a SHA-256');
}
