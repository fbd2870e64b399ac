import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { createCredentials } from '../credentials.ts';
import { createEcrLogins, signedHeaders } from './ecr.ts';

const host = '123456789012.dkr.ecr.eu-central-1.amazonaws.com';
const keys = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
const start = Date.parse('2026-01-01T00:00:00Z');
const halfDayMs = 12 * 3_600_000;
const patient = (): AbortSignal => AbortSignal.timeout(10_000);

interface Asked {
  readonly path: string;
  readonly authorization: string;
  readonly target: string;
  readonly body: string;
}

interface Answer {
  readonly status?: number;
  readonly body: string;
}

/** The APIs of AWS on port 0. */
async function startAws(t: TestContext, answer: (asked: Asked, count: number) => Answer): Promise<[string, Asked[]]> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { authorization = '', 'x-amz-target': target } = request.headers;
      asked.push({ path: request.url ?? '', authorization, target: String(target ?? ''), body });
      const given = answer(asked.at(-1) as Asked, asked.length);
      response.writeHead(given.status ?? 200).end(given.body);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return [`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, asked];
}

function tokenAnswer(password: string, expiresMs: number): Answer {
  const authorizationToken = Buffer.from(`AWS:${password}`).toString('base64');
  return { body: JSON.stringify({ authorizationData: [{ authorizationToken, expiresAt: expiresMs / 1_000 }] }) };
}

test('a token is asked for once, and anew well before it ends', async (t) => {
  const clock = createManualClock(0);
  const now = (): Date => new Date(start + clock.nowMs());
  const [url, asked] = await startAws(t, (_asked, count) => tokenAnswer(`token-${count}`, now().getTime() + halfDayMs));
  const ecr = createEcrLogins({ ownHost: host, env: { ...keys, AWS_ENDPOINT_URL_ECR: url }, clock, now });
  t.after(() => ecr.close());
  const credentials = createCredentials({ own: { host, login: undefined }, file: undefined, tokens: ecr });
  assert.deepEqual(await credentials.authorizationFor(`${host}/team/app`, patient()), {
    username: 'AWS',
    password: 'token-1',
  });
  clock.advance(9 * 3_600_000);
  const auth = Buffer.from('AWS:token-1').toString('base64');
  assert.deepEqual(await credentials.dockerConfig(undefined, patient()), { auths: { [host]: { auth } } });
  assert.equal(asked.length, 1);
  assert.equal(asked[0]?.target, 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken');
  assert.match(
    asked[0].authorization,
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/20260101\/eu-central-1\/ecr\/aws4_request, /,
  );
  clock.advance(2 * 3_600_000);
  assert.equal((await credentials.authorizationFor(host, patient()))?.password, 'token-2');
  assert.equal(await credentials.authorizationFor('docker.io', patient()), undefined);
});

test('a request for a token is signed with every header, the session token too', async () => {
  const signatures = [
    [undefined, '', 'f7af21b60ea86abf0cccd701bbe3fc701f58344c94539da4de12e6c9451af002'],
    ['session', 'x-amz-security-token;', '6cbc8d965cadef069478c3a4f8d03c5acef9ac08fd771371209ce8922a21e999'],
  ] as const;
  for (const [sessionToken, signed, signature] of signatures) {
    const headers = await signedHeaders({
      url: new URL('https://api.ecr.eu-central-1.amazonaws.com/'),
      body: '{}',
      credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret', ...(sessionToken && { sessionToken }) },
      region: 'eu-central-1',
      now: new Date(start),
    });
    assert.equal(headers['x-amz-date'], '20260101T000000Z');
    assert.equal(headers['x-amz-security-token'], sessionToken);
    assert.equal(
      headers['authorization'],
      `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;${signed}x-amz-target, Signature=${signature}`,
    );
  }
});

test('registries of other regions have tokens of their own', async (t) => {
  const [url, asked] = await startAws(t, (_asked, count) => tokenAnswer(`token-${count}`, start + halfDayMs));
  const clock = createManualClock(0);
  const env = { ...keys, AWS_ENDPOINT_URL: url };
  const ecr = createEcrLogins({ ownHost: host, env, clock, now: () => new Date(start) });
  t.after(() => ecr.close());
  await ecr.login(host, patient());
  await ecr.login('999999999999.dkr.ecr.us-east-1.amazonaws.com', patient());
  assert.deepEqual(
    asked.map(({ authorization }) => /\/20260101\/([^/]+)\//.exec(authorization)?.[1]),
    ['eu-central-1', 'us-east-1'],
  );
});

test('a service account proves itself by its web identity', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-ecr-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, 'web-identity-token\n');
  const [url, asked] = await startAws(t, ({ target }) => {
    if (target !== '') return tokenAnswer('token', start + halfDayMs);
    const fields =
      '<AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>st</SessionToken>';
    return {
      body: `<AssumeRoleWithWebIdentityResponse><Credentials>${fields}</Credentials></AssumeRoleWithWebIdentityResponse>`,
    };
  });
  const env = { AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile, AWS_ROLE_ARN: 'arn:aws:iam::1:role/r', AWS_ENDPOINT_URL: url };
  const ecr = createEcrLogins({ ownHost: host, env, clock: createManualClock(0), now: () => new Date(start) });
  t.after(() => ecr.close());
  assert.equal((await ecr.login(host, patient())).password, 'token');
  const form = new URLSearchParams(asked[0]?.body);
  assert.equal(form.get('Action'), 'AssumeRoleWithWebIdentity');
  assert.equal(form.get('WebIdentityToken'), 'web-identity-token');
  assert.match(asked[1]?.authorization ?? '', /Credential=ASIA1\/.*x-amz-security-token/);
});

test('a pod identity is asked at the container endpoint, with its token', async (t) => {
  const [url, asked] = await startAws(t, ({ target }) =>
    target === ''
      ? { body: JSON.stringify({ AccessKeyId: 'ASIA2', SecretAccessKey: 's', Token: 'st', Expiration: '2026-01-01' }) }
      : tokenAnswer('token', start + halfDayMs),
  );
  const env = {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/v1/credentials`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: 'pod',
    AWS_ENDPOINT_URL_ECR: url,
  };
  const ecr = createEcrLogins({ ownHost: host, env, clock: createManualClock(0), now: () => new Date(start) });
  t.after(() => ecr.close());
  await ecr.login(host, patient());
  assert.deepEqual([asked[0]?.path, asked[0]?.authorization], ['/v1/credentials', 'pod']);
});

const hasty: Clock = {
  nowMs: () => 0,
  after(_delayMs, task) {
    const immediate = setImmediate(task);
    return () => clearImmediate(immediate);
  },
};

test('a refusal fails at once with its code; what passes is tried again', async (t) => {
  const answers: Answer[] = [
    { status: 400, body: '{"__type":"com.amazonaws.ecr#UnrecognizedClientException","message":"secret-token"}' },
    { status: 503, body: '' },
    { status: 400, body: '{"__type":"ThrottlingException"}' },
    tokenAnswer('token', start + halfDayMs),
  ];
  const [url, asked] = await startAws(t, (_asked, count) => answers[count - 1] ?? { status: 500, body: '' });
  const env = { ...keys, AWS_ENDPOINT_URL: url };
  const ecr = createEcrLogins({ ownHost: host, env, clock: hasty, now: () => new Date(start) });
  t.after(() => ecr.close());
  await assert.rejects(ecr.login(host, patient()), {
    code: 'image_denied',
    message: 'Amazon ECR gave no credentials: it answered 400 UnrecognizedClientException',
  });
  assert.equal((await ecr.login(host, patient())).password, 'token');
  assert.equal(asked.length, 4);
  await assert.rejects(ecr.login('1'.repeat(12) + host.slice(12).replace('eu-central-1', 'us-west-2'), patient()), {
    code: 'registry_unavailable',
    message: /answered 500/,
  });
});

test('an environment that cannot give credentials is told at once', () => {
  const make = (ownHost: string, env: Record<string, string>): unknown =>
    createEcrLogins({ ownHost, env, clock: createManualClock(0) });
  assert.throws(() => make(host, {}), { code: 'config_invalid', message: /AWS_WEB_IDENTITY_TOKEN_FILE/ });
  assert.throws(() => make('registry.example', keys), { code: 'config_invalid', message: /AWS_REGION/ });
  const plain = { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://elsewhere.example/x' };
  assert.throws(() => make(host, plain), { code: 'config_invalid', message: /must be https/ });
});
