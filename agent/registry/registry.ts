/** Asks image registries which digest a name has now. https://distribution.github.io/distribution/spec/api/ */
import { createHash } from 'node:crypto';
import { Agent, request, type Dispatcher } from 'undici';
import { AppError } from '../../shared/errors.ts';
import { parseChallenge } from './challenge.ts';
import { parseImage, type ImageReference } from './reference.ts';

export interface Registry {
  /**
   * @returns `sha256:…`; of a reference with a digest that one, unasked.
   * @throws AppError image_not_found, image_denied, image_invalid, registry_unavailable; cancelled by the signal.
   */
  digest(image: string, signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/** `[registry]`: the one registry that has credentials and may be insecure. */
export interface OwnRegistry {
  /** With port where it has one. */
  readonly host: string;
  /** It speaks plain HTTP. */
  readonly insecure: boolean;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Content of ca_file, PEM. */
  readonly ca?: string | undefined;
}

const connectTimeoutMs = 3_000;
const totalTimeoutMs = 5_000;
const maxManifestBytes = 4 * 1024 * 1024;
const maxTokenBytes = 256 * 1024;

/** Indexes first: the digest of a multi-platform image is the one of its index. */
const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

interface Place {
  readonly origin: string;
  readonly host: string;
  readonly own: boolean;
  readonly agent: Agent;
  /** `Basic …`, for the own registry only. */
  readonly basic: string | undefined;
}

export function createRegistry(deps: { readonly own: OwnRegistry | undefined }): Registry {
  const { own } = deps;
  const publicAgent = new Agent({ connect: { timeout: connectTimeoutMs }, allowH2: false });
  const ownAgent = new Agent({
    allowH2: false,
    connect: {
      timeout: connectTimeoutMs,
      ...(own?.ca === undefined ? {} : { ca: own.ca }),
    },
  });

  function placeOf(host: string): Place {
    if (own !== undefined && host === own.host.toLowerCase()) {
      const { username, password = '' } = own;
      return {
        origin: `${own.insecure ? 'http' : 'https'}://${host}`,
        host,
        own: true,
        agent: ownAgent,
        basic:
          username === undefined
            ? undefined
            : `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`,
      };
    }
    // The name of Docker Hub is not the host that serves its API.
    const served = host === 'docker.io' ? 'registry-1.docker.io' : host;
    return { origin: `https://${served}`, host, own: false, agent: publicAgent, basic: undefined };
  }

  return {
    async digest(image, signal) {
      const reference = parseImage(image);
      if (reference.digest !== undefined) return reference.digest;
      const place = placeOf(reference.host);
      const either = AbortSignal.any([signal, AbortSignal.timeout(totalTimeoutMs)]);
      try {
        return await ask(place, reference, image, either);
      } catch (error) {
        if (error instanceof AppError) throw error;
        if (signal.aborted) throw new AppError('cancelled', 'the registry was not waited for', { cause: error });
        throw unavailable(image, reference.host, reasonOf(error), error);
      }
    },
    async close() {
      await Promise.all([publicAgent.destroy(), ownAgent.destroy()]);
    },
  };
}

async function ask(place: Place, reference: ImageReference, image: string, signal: AbortSignal): Promise<string> {
  const path = `/v2/${reference.repository}/manifests/${reference.tag}`;
  const send = async (method: 'HEAD' | 'GET', authorization: string | undefined): Promise<Dispatcher.ResponseData> =>
    await request(`${place.origin}${path}`, {
      dispatcher: place.agent,
      method,
      headers: { accept: manifestTypes, ...(authorization === undefined ? {} : { authorization }) },
      signal,
    });

  let authorization: string | undefined;
  let response = await send('HEAD', undefined);
  if (response.statusCode === 401) {
    await response.body.dump();
    authorization = await authorize(place, reference, textOf(response.headers['www-authenticate']), signal);
    if (authorization !== undefined) response = await send('HEAD', authorization);
  }
  await response.body.dump();
  const told = textOf(response.headers['docker-content-digest']);
  if (response.statusCode === 200 && told !== '') return checked(told, image, place.host);
  // Some registries refuse HEAD, or leave the digest out of its answer.
  if (response.statusCode === 200 || response.statusCode === 405) {
    response = await send('GET', authorization);
    const body = await readBounded(response.body, maxManifestBytes);
    if (response.statusCode === 200) {
      const header = textOf(response.headers['docker-content-digest']);
      return header === ''
        ? `sha256:${createHash('sha256').update(body).digest('hex')}`
        : checked(header, image, place.host);
    }
  }
  throw refusal(place, image, response.statusCode);
}

/** @returns the header that answers the challenge, or undefined where none can be made. */
async function authorize(
  place: Place,
  reference: ImageReference,
  header: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const challenge = parseChallenge(header);
  if (challenge === undefined) return undefined;
  if (challenge.scheme === 'basic') return place.basic;
  const realm = URL.parse(challenge.realm);
  // A token service elsewhere gets our password only over TLS, or where the registry is insecure by choice.
  const plain = realm?.protocol === 'http:' && place.origin.startsWith('http:');
  if (realm === null || !(realm.protocol === 'https:' || plain)) return undefined;
  if (challenge.service !== undefined) realm.searchParams.set('service', challenge.service);
  realm.searchParams.set('scope', challenge.scope ?? `repository:${reference.repository}:pull`);
  const response = await request(realm, {
    dispatcher: place.agent,
    headers: { accept: 'application/json', ...(place.basic === undefined ? {} : { authorization: place.basic }) },
    signal,
  });
  const body = await readBounded(response.body, maxTokenBytes);
  if (response.statusCode === 401 || response.statusCode === 403) return undefined;
  if (response.statusCode !== 200) throw new Error(`its token service answered ${String(response.statusCode)}`);
  const { token, access_token: accessToken } = JSON.parse(body.toString('utf8')) as {
    readonly token?: string;
    readonly access_token?: string;
  };
  const bearer = token ?? accessToken;
  if (bearer === undefined) throw new Error('its token service gave no token');
  return `Bearer ${bearer}`;
}

function refusal(place: Place, image: string, status: number): AppError {
  const options = { phase: 'pull' } as const;
  if (status === 404) return new AppError('image_not_found', `${place.host} has no image ${image}`, options);
  if (status === 401 || status === 403) {
    // Of another registry the agent has no credentials, while the nodes may have some: they shall try.
    if (!place.own) return unavailable(image, place.host, 'it asks for credentials that the agent does not have');
    return new AppError('image_denied', `${place.host} refuses the agent's credentials for image ${image}`, options);
  }
  if (status === 400) return new AppError('image_invalid', `${place.host} does not take the name ${image}`, options);
  return unavailable(image, place.host, `it answered ${String(status)}`);
}

function unavailable(image: string, host: string, why: string, cause?: unknown): AppError {
  return new AppError('registry_unavailable', `${host} could not be asked for image ${image}: ${why}`, {
    phase: 'pull',
    cause,
  });
}

function checked(digest: string, image: string, host: string): string {
  if (/^sha256:[0-9a-f]{64}$/.test(digest)) return digest;
  throw unavailable(image, host, 'its digest is not a SHA-256');
}

function textOf(header: string | string[] | undefined): string {
  return Array.isArray(header) ? header.join(', ') : (header ?? '');
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'TimeoutError' ? `no answer within ${String(totalTimeoutMs / 1_000)} s` : error.message;
}

async function readBounded(body: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error('its answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
