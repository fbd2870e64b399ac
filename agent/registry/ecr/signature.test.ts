import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signed, type UnsignedRequest } from './signature.ts';

// The signature test suite that AWS publishes.
const options = {
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' },
  region: 'us-east-1',
  service: 'service',
  now: new Date('2015-08-30T12:36:00Z'),
};

test('requests are signed as in the published test suite', () => {
  const url = new URL('https://example.amazonaws.com/');
  const cases: [name: string, request: UnsignedRequest, signedHeaders: string, signature: string][] = [
    [
      'get-vanilla',
      { method: 'GET', url, headers: {}, body: '' },
      'host;x-amz-date',
      '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    ],
    [
      'post-vanilla',
      { method: 'POST', url, headers: {}, body: '' },
      'host;x-amz-date',
      '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    ],
    [
      'get-vanilla-query-order-key-case',
      { method: 'GET', url: new URL('/?Param2=value2&Param1=value1', url), headers: {}, body: '' },
      'host;x-amz-date',
      'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    ],
    [
      'post-x-www-form-urlencoded',
      {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: 'Param1=value1',
      },
      'content-type;host;x-amz-date',
      'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
    ],
  ];
  for (const [name, request, signedHeaders, signature] of cases) {
    assert.equal(
      signed(request, options)['authorization'],
      `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=${signedHeaders}, Signature=${signature}`,
      name,
    );
  }
});

test('a session token is sent and signed', () => {
  const credentials = { ...options.credentials, sessionToken: 'session' };
  const request = { method: 'GET', url: new URL('https://example.amazonaws.com/'), headers: {}, body: '' };
  const headers = signed(request, { ...options, credentials });
  assert.equal(headers['x-amz-security-token'], 'session');
  assert.match(headers['authorization'] ?? '', /SignedHeaders=host;x-amz-date;x-amz-security-token,/);
});
