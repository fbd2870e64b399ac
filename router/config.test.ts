import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../shared/errors.ts';
import { type RouterConfig, loadRouterConfig } from './config.ts';

const token = '0123456789abcdef';

function load(env: Record<string, string>, files: Record<string, string> = {}, file?: string): RouterConfig {
  const readFile = (path: string): string => files[path] ?? assert.fail(`no such file ${path}`);
  return loadRouterConfig({ file, env, readFile });
}

function refusal(text: string): string {
  try {
    load({}, { '/etc/router.toml': text }, '/etc/router.toml');
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'config_invalid', String(error));
    return error.message;
  }
  return assert.fail('it was accepted');
}

test('a token in the environment is enough', () => {
  const config = load({ HOLDFAST_ROUTER_TOKEN: token });
  assert.equal(config.listen_port, 8080);
  assert.equal(config.agent_url, 'http://127.0.0.1:7400');
  assert.equal(config.on_agent_loss, 'serve');
  assert.equal(config.token(), token);
  assert.notEqual(config.name, '');
});

test('the token can come from a file, by key or by variable', () => {
  const files = { '/run/token': `${token}\n`, '/etc/router.toml': '[router]\ntoken_file = "/run/token"\n' };
  assert.equal(load({ HOLDFAST_ROUTER_TOKEN_FILE: '/run/token' }, files).token(), token);
  assert.equal(load({}, files, '/etc/router.toml').token(), token);
});

test('a router without a token is refused', () => {
  assert.match(
    refusal('[router]\nlisten_port = 1\n'),
    /\/etc\/router\.toml:1:2: router\.token: set exactly one of token and token_file/,
  );
});

test('a wrong agent URL and a wrong proxy are refused by name and line', () => {
  const message = refusal(
    `[router]\ntoken = "${token}"\nagent_url = "ws://x"\ntrusted_proxies = ["10.0.0.0/8", "x"]\n`,
  );
  assert.match(message, /router\.toml:3:1: router\.agent_url: must be http:\/\/host:port/);
  assert.match(message, /router\.toml:4:34: router\.trusted_proxies\[1\]: must be an address or a CIDR/);
});
