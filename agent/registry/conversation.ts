/** HTTP requests to registries: address, TLS, authorization, and trying again while a failure may pass. */
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

/** A registry of the configuration: only these may be insecure, or have an authority or a client certificate of their own. */
export interface OwnRegistry {
  /** `host[:port]`. */
  readonly host: string;
  /** It speaks plain HTTP. */
  readonly insecure: boolean;
  /** Used if there are no `credentials`. */
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

/** An answer with a status that may change within moments: 429 or 5xx. */
class PassingAnswer extends Error {
  readonly answer: RegistryAnswer;

  constructor(answer: RegistryAnswer) {
    super(`status ${String(answer.status)}`);
    this.answer = answer;
  }
}

export interface RegistryRequest {
  readonly method: 'HEAD' | 'GET' | 'DELETE';
  /** The path from the root of the host, with the query. */
  readonly path: string;
  readonly accept: string;
}

/** Requests about one repository, within one time budget. */
export interface Conversation {
  readonly host: string;
  /** Whether it is the registry of `[registry]`. */
  readonly own: boolean;
  /** Whether credentials were sent. */
  readonly authorized: boolean;
  /** @returns the answer, whatever its status; the last one if all attempts got 429 or 5xx. Rejects if there was none. */
  send(request: RegistryRequest): Promise<RegistryAnswer>;
}

export interface ConversationOptions {
  readonly host: string;
  readonly repository: string;
  /** Which rights to ask the token service for, if the challenge does not say. */
  readonly action: 'pull' | 'delete';
  readonly budgetMs: number;
  /** Aborts when the caller leaves or the budget is used up. */
  readonly signal: AbortSignal;
}

const connectTimeoutMs = 3_000;
const bodyBound = { maxBytes: 4 * 1024 * 1024, what: 'its answer', tooLarge: (message: string) => new Error(message) };

export interface ConversationsDeps {
  readonly own: OwnRegistry | undefined;
  /** Those of `[[registries]]`. */
  readonly others?: readonly OwnRegistry[];
  readonly credentials: RegistryCredentials;
  readonly clock: Clock;
}

export function createConversations({ own, others = [], credentials, clock }: ConversationsDeps) {
  const publicAgent = new Agent({ connect: { timeout: connectTimeoutMs }, allowH2: false });
  const known = new Map(
    [...(own === undefined ? [] : [own]), ...others].map((one) => [
      one.host.toLowerCase(),
      { insecure: one.insecure, agent: agentOf(one) },
    ]),
  );

  return {
    open({ host, repository, action, budgetMs, signal }: ConversationOptions): Conversation {
      const isOwn = own !== undefined && host === own.host.toLowerCase();
      const configured = known.get(host);
      const dispatcher = configured?.agent ?? publicAgent;
      // Docker Hub's API is served by a host of another name.
      const served = host === 'docker.io' ? 'registry-1.docker.io' : host;
      const origin = `${configured?.insecure === true ? 'http' : 'https'}://${served}`;
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

      /** @returns the header that answers the challenge, or undefined if it cannot be answered. */
      async function authorize(header: string): Promise<string | undefined> {
        const challenge = parseChallenge(header);
        if (challenge === undefined) return undefined;
        const login = await credentials.authorizationFor(`${host}/${repository}`, signal);
        authorized = login !== undefined;
        if (challenge.scheme === 'basic') return login === undefined ? undefined : basicOf(login);
        const realm = URL.parse(challenge.realm);
        // The token service gets the password only over TLS, unless the registry itself is insecure by configuration.
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
          // Also if a token was sent: it may have expired between two pages.
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
    async close(): Promise<void> {
      await Promise.all(
        [publicAgent, ...Array.from(known.values(), ({ agent }) => agent)].map((agent) => agent.destroy()),
      );
    },
  };
}

function agentOf(registry: OwnRegistry): Agent {
  const secureContext = contextOf(registry);
  return new Agent({
    allowH2: false,
    connect: { timeout: connectTimeoutMs, ...(secureContext === undefined ? {} : { secureContext }) },
  });
}

/** Made once, since parsing the authorities takes milliseconds. The registry's authority is added to the default ones. */
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
