/**
 * AWS credentials from the places where AWS's own programs look for them in a pod: the environment, a web identity (IAM roles for
 * service accounts) or the container endpoint (EKS Pod Identity). Instance roles are left out, since pods rarely reach them.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Environment } from '../../../shared/config/environment.ts';
import { AppError, toAppError } from '../../../shared/errors.ts';
import { parseJson } from '../../../shared/json.ts';
import { callAws, type AwsHttpDeps } from './aws-http.ts';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface AwsCredentialsDeps extends AwsHttpDeps {
  readonly env: Environment;
}

/** Fetches credentials. They are not cached: they are needed twice a day. */
export type AwsCredentialsSource = (region: string, signal: AbortSignal) => Promise<AwsCredentials>;

/** @throws AppError config_invalid if the environment names none of the places. */
export function awsCredentialsOf(deps: AwsCredentialsDeps): AwsCredentialsSource {
  const { env } = deps;
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (isSet(accessKeyId) && isSet(secretAccessKey)) {
    const { AWS_SESSION_TOKEN: sessionToken } = env;
    return () => Promise.resolve({ accessKeyId, secretAccessKey, ...(isSet(sessionToken) ? { sessionToken } : {}) });
  }
  const { AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile, AWS_ROLE_ARN: roleArn } = env;
  if (isSet(tokenFile) && isSet(roleArn)) {
    return (region, signal) => assumeRole(deps, { tokenFile, roleArn, region }, signal);
  }
  const url = containerUrl(env);
  if (url !== undefined) return (_region, signal) => fromContainer(deps, url, signal);
  const ways = 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN';
  throw new AppError(
    'config_invalid',
    `registry.auth = "ecr" needs credentials of AWS in the environment of the agent: ${ways}, or AWS_CONTAINER_CREDENTIALS_FULL_URI`,
  );
}

interface WebIdentity {
  readonly tokenFile: string;
  readonly roleArn: string;
  readonly region: string;
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html; the call is not signed. */
async function assumeRole(
  deps: AwsCredentialsDeps,
  { tokenFile, roleArn, region }: WebIdentity,
  signal: AbortSignal,
): Promise<AwsCredentials> {
  const { env } = deps;
  const form = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: roleArn,
    RoleSessionName: isSet(env['AWS_ROLE_SESSION_NAME']) ? env['AWS_ROLE_SESSION_NAME'] : 'holdfast',
    WebIdentityToken: await secretFile(tokenFile),
  });
  const service = 'AWS STS';
  const text = await callAws(
    deps,
    {
      service,
      url: awsEndpoint(env, 'sts', region),
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form.toString(),
    },
    signal,
  );
  const field = (name: string): string => {
    const value = new RegExp(`<${name}>([^<]+)</${name}>`).exec(text)?.[1];
    if (value === undefined) throw strange(service);
    return value;
  };
  return {
    accessKeyId: field('AccessKeyId'),
    secretAccessKey: field('SecretAccessKey'),
    sessionToken: field('SessionToken'),
  };
}

const containerAnswer = z.object({ AccessKeyId: z.string(), SecretAccessKey: z.string(), Token: z.string() });

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html */
async function fromContainer(deps: AwsCredentialsDeps, url: URL, signal: AbortSignal): Promise<AwsCredentials> {
  const { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file, AWS_CONTAINER_AUTHORIZATION_TOKEN: given } = deps.env;
  const authorization = isSet(file) ? await secretFile(file) : given;
  const service = 'the container credentials endpoint of AWS';
  const headers = isSet(authorization) ? { authorization } : {};
  const text = await callAws(deps, { service, url, method: 'GET', headers }, signal);
  const answer = containerAnswer.safeParse(parseJson(text));
  if (!answer.success) throw strange(service);
  const { AccessKeyId, SecretAccessKey, Token } = answer.data;
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token };
}

/** Plain HTTP is allowed only to this machine and to the addresses that AWS reserves for it, because the answer is a secret. */
const plainHosts = new Set(['127.0.0.1', '[::1]', 'localhost', '169.254.170.2', '169.254.170.23', '[fd00:ec2::23]']);

function containerUrl(env: Environment): URL | undefined {
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: path, AWS_CONTAINER_CREDENTIALS_FULL_URI: full } = env;
  if (isSet(path)) return new URL(path, 'http://169.254.170.2');
  if (!isSet(full)) return undefined;
  const url = URL.parse(full);
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && plainHosts.has(url.hostname))) return url;
  throw new AppError('config_invalid', 'AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or name this machine');
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html */
export function awsEndpoint(env: Environment, service: 'ecr' | 'sts', region: string): URL {
  const given = [env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`], env['AWS_ENDPOINT_URL']].find(isSet);
  const suffix = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  const host = service === 'ecr' ? `api.ecr.${region}.${suffix}` : `sts.${region}.${suffix}`;
  const url = URL.parse(given ?? `https://${host}/`);
  if (url === null) throw new AppError('config_invalid', `AWS_ENDPOINT_URL of ${service} is no URL`);
  return url;
}

async function secretFile(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new AppError('image_denied', `the token for AWS cannot be read: ${toAppError(error).message}`, {
      phase: 'pull',
      cause: error,
    });
  }
}

function strange(service: string): AppError {
  return new AppError('registry_unavailable', `${service} gave no credentials in its answer`, { phase: 'pull' });
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}
