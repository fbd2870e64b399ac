/** HTTP with a registry: where it is, by which TLS, what authorizes, and that what fails in passing is tried again. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { Agent, request } from 'undici';
import type { Clock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import { readBounded } from '../../shared/net/read-bounded.ts';
import { retry } from '../../shared/wait/retry.ts';
import { basicOf, parseChallenge, tokenIn, tokenRequest } from './authorization.ts';
import type { RegistryCredentials } from './credentials.ts';
import { tlsProblem } from './connection-error.ts';
import { isPassingStatus, retryAfterMs, retryPolicy } from './retry.ts';

/** `[registry]`: the one registry that may be insecure and has an authority and a client certificate of its own. */
export interface OwnRegistry {
  /** With port where it has one. */
  readonly host: string;
  /** It speaks plain HTTP. */
  readonly insecure: boolean;
  /** Where no `credentials` are given. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Content of ca_file, PEM. */
  readonly ca?: string | undefined;
  /** Contents of client_cert_file and client_key_file, PEM; both or none. */
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
}

export interface RegistryAnswer {
  readonly status: number;
  header(name: string): string;
  readonly body: Buffer;
}

/** An answer of a status that may be another one in a moment. */
class PassingAnswer extends Error {
  readonly answer: RegistryAnswer;

  constructor(answer: RegistryAnswer) {
    super(`status ${String(answer.status)}`);
    this.answer = answer;
  }
}

export interface RegistryRequest {
  readonly method: 'HEAD' | 'GET' | 'DELETE';
  /** From the root of the host, with query. */
  readonly path: string;
  readonly accept: string;
}

/** Requests that belong together: about one repository, within one time. */
export interface Conversation {
  readonly host: string;
  /** It is the one of `[registry]`. */
  readonly own: boolean;
  /** Whether credentials were given. */
  readonly authorized: boolean;
  /** @returns any answer; of a passing failure the last one. Rejects when there was none. */
  send(request: RegistryRequest): Promise<RegistryAnswer>;
}

export interface ConversationOptions {
  readonly host: string;
  readonly repository: string;
  /** What the token is asked for, where the challenge does not say. */
  readonly action: 'pull' | 'delete';
  readonly budgetMs: number;
  /** Of the caller and of the budget. */
  readonly signal: AbortSignal;
}

export interface Conversations {
  open(options: ConversationOptions): Conversation;
  close(): Promise<void>;
}

const connectTimeoutMs = 3_000;
const bodyBound = { maxBytes: 4 * 1024 * 1024, what: 'its answer', tooLarge: (message: string) => new Error(message) };

export interface ConversationsDeps {
  readonly own: OwnRegistry | undefined;
  readonly credentials: RegistryCredentials;
  readonly clock: Clock;
}

export function createConversations({ own, credentials, clock }: ConversationsDeps): Conversations {
  const publicAgent = new Agent({ connect: { timeout: connectTimeoutMs }, allowH2: false });
  const secureContext = own === undefined ? undefined : contextOf(own);
  const ownAgent = new Agent({
    allowH2: false,
    connect: { timeout: connectTimeoutMs, ...(secureContext === undefined ? {} : { secureContext }) },
  });

  return {
    open({ host, repository, action, budgetMs, signal }) {
      const isOwn = own !== undefined && host === own.host.toLowerCase();
      const dispatcher = isOwn ? ownAgent : publicAgent;
      // The name of Docker Hub is not the host that serves its API.
      const served = host === 'docker.io' ? 'registry-1.docker.io' : host;
      const origin = `${isOwn && own.insecure ? 'http' : 'https'}://${served}`;
      let authorization: string | undefined;
      let authorized = false;

      async function ask({ method, path, accept }: RegistryRequest): Promise<RegistryAnswer> {
        const response = await request(`${origin}${path}`, {
          dispatcher,
          method,
          headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
          signal,
        });
        const body = await readBounded(response.body, bodyBound);
        const header = (name: string): string => textOf(response.headers[name]);
        return { status: response.statusCode, header, body };
      }

      /** @returns the header that answers the challenge, or undefined where none can be made. */
      async function authorize(header: string): Promise<string | undefined> {
        const challenge = parseChallenge(header);
        if (challenge === undefined) return undefined;
        const login = await credentials.authorizationFor(`${host}/${repository}`, signal);
        authorized = login !== undefined;
        if (challenge.scheme === 'basic') return login === undefined ? undefined : basicOf(login);
        const realm = URL.parse(challenge.realm);
        // A token service elsewhere gets our password only over TLS, or where the registry is insecure by choice.
        const isPlain = realm?.protocol === 'http:' && origin.startsWith('http:');
        if (realm === null || !(realm.protocol === 'https:' || isPlain)) return undefined;
        const scope = challenge.scope ?? `repository:${repository}:${action}`;
        const { service } = challenge;
        const { url, ...options } = tokenRequest(realm, { service, scope, login });
        const response = await request(url, { dispatcher, signal, ...options });
        const body = await readBounded(response.body, bodyBound);
        if (response.statusCode === 401 || response.statusCode === 403) return undefined;
        if (response.statusCode !== 200) throw new Error(`its token service answered ${String(response.statusCode)}`);
        return `Bearer ${tokenIn(body)}`;
      }

      async function attempt(asked: RegistryRequest): Promise<RegistryAnswer> {
        let answer = await ask(asked);
        if (answer.status === 401) {
          // Also where a token was given: it may have run out between two pages.
          authorization = await authorize(answer.header('www-authenticate'));
          if (authorization !== undefined) answer = await ask(asked);
        }
        if (isPassingStatus(answer.status)) throw new PassingAnswer(answer);
        return answer;
      }

      async function send(asked: RegistryRequest): Promise<RegistryAnswer> {
        try {
          return await retry(() => attempt(asked), {
            ...retryPolicy,
            clock,
            signal,
            deadlineMs: budgetMs,
            isPassing: (error) => !(error instanceof AppError) && tlsProblem(error) === undefined,
            retryAfterMs: (error) =>
              error instanceof PassingAnswer ? retryAfterMs(error.answer.header('retry-after')) : undefined,
          });
        } catch (error) {
          if (error instanceof PassingAnswer) return error.answer;
          throw error;
        }
      }

      return {
        host,
        own: isOwn,
        get authorized() {
          return authorized;
        },
        send,
      };
    },
    async close() {
      await Promise.all([publicAgent.destroy(), ownAgent.destroy()]);
    },
  };
}

/** Made once: to parse the authorities takes milliseconds. The registry's authority is added to those that everybody trusts. */
function contextOf({ ca, clientCert, clientKey }: OwnRegistry): SecureContext | undefined {
  if (ca === undefined && clientCert === undefined) return undefined;
  return createSecureContext({
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
    ...(clientCert === undefined ? {} : { cert: clientCert }),
    ...(clientKey === undefined ? {} : { key: clientKey }),
  });
}

function textOf(header: string | string[] | undefined): string {
  return Array.isArray(header) ? header.join(', ') : (header ?? '');
}
