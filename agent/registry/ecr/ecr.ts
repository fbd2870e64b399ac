/** Logins for Amazon ECR: its API gives tokens that live half a day. https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html */
import { AwsV4Signer } from 'aws4fetch';
import { Agent } from 'undici';
import { z } from 'zod';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Environment } from '../../../shared/config/environment.ts';
import { AppError } from '../../../shared/errors.ts';
import { parseJson } from '../../../shared/json.ts';
import type { LoginSource, RegistryLogin } from '../credentials.ts';
import { callAws } from './aws-http.ts';
import { awsCredentialsOf, awsEndpoint, type AwsCredentials } from './aws-credentials.ts';

export interface EcrDeps {
  /** The host of `[registry]`. An alias of an ECR registry needs AWS_REGION. */
  readonly ownHost: string;
  readonly env: Environment;
  readonly clock: Clock;
  /** The time of day, which signatures contain. */
  readonly now?: () => Date;
}

export interface EcrLogins extends LoginSource {
  close(): Promise<void>;
}

interface Kept {
  readonly login: RegistryLogin;
  readonly freshUntilMs: number;
}

const hostPattern = /^\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$/;
/** A token is replaced while it still lives this long, because a build may take that time before it pushes with it. */
const wantedLifeMs = 2 * 3_600_000;

const answerSchema = z.object({
  authorizationData: z.array(z.object({ authorizationToken: z.string(), expiresAt: z.number() })).min(1),
});

/** @throws AppError config_invalid if the environment has no credentials, or no region is known for `ownHost`. */
export function createEcrLogins({ ownHost, env, clock, now = () => new Date() }: EcrDeps): EcrLogins {
  const dispatcher = new Agent({ connect: { timeout: 3_000 }, allowH2: false });
  const http = { clock, dispatcher };
  const credentials = awsCredentialsOf({ ...http, env });
  const kept = new Map<string, Kept>();
  const own = ownHost.toLowerCase();
  const ownRegion = hostPattern.exec(own)?.[1] ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'];
  if (ownRegion === undefined || ownRegion === '') {
    throw new AppError('config_invalid', `registry.auth = "ecr": ${own} names no region; set AWS_REGION`);
  }
  const regionOf = (host: string): string => hostPattern.exec(host)?.[1] ?? ownRegion;

  async function fetchLogin(region: string, signal: AbortSignal): Promise<Kept> {
    const url = awsEndpoint(env, 'ecr', region);
    const body = '{}';
    const headers = await signedHeaders({
      url,
      body,
      credentials: await credentials(region, signal),
      region,
      now: now(),
    });
    const text = await callAws(http, { service: 'Amazon ECR', url, method: 'POST', headers, body }, signal);
    const [data] = answerSchema.safeParse(parseJson(text)).data?.authorizationData ?? [];
    const decoded = Buffer.from(data?.authorizationToken ?? '', 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (data === undefined || colon < 1) {
      throw new AppError('registry_unavailable', 'Amazon ECR gave no token in its answer', { phase: 'pull' });
    }
    const lifeMs = data.expiresAt * 1_000 - now().getTime();
    return {
      login: { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) },
      freshUntilMs: clock.nowMs() + lifeMs - Math.min(wantedLifeMs, lifeMs / 2),
    };
  }

  return {
    serves: (host) => host === own || hostPattern.test(host),
    async login(host, signal) {
      const region = regionOf(host);
      let known = kept.get(region);
      if (known === undefined || clock.nowMs() >= known.freshUntilMs) {
        known = await fetchLogin(region, signal);
        kept.set(region, known);
      }
      return known.login;
    },
    close: () => dispatcher.destroy(),
  };
}

/** Signs a request for a token (Signature Version 4). @returns its headers. */
export async function signedHeaders(call: {
  readonly url: URL;
  readonly body: string;
  readonly credentials: AwsCredentials;
  readonly region: string;
  readonly now: Date;
}): Promise<Record<string, string>> {
  const { url, body, credentials, region, now } = call;
  const signer = new AwsV4Signer({
    method: 'POST',
    url: url.href,
    headers: {
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken',
    },
    body,
    ...credentials,
    region,
    service: 'ecr',
    datetime: now.toISOString().replaceAll(/[-:]|\.\d{3}/g, ''),
    // Without it the content type is not signed.
    allHeaders: true,
  });
  return Object.fromEntries((await signer.sign()).headers);
}
