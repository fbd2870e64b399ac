import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { environmentKeys, variableOf } from '../../shared/config/environment.ts';
import { schemaKeys } from '../../shared/config/schema-keys.ts';
import { type AgentConfig, agentConfig, loadAgentConfig } from './config.ts';
import { tokenDigest } from '../../shared/config/sections.ts';

const base = `[metadata]
db_connection = "postgres://db.example/holdfast"
[[token]]
name = "cli"
scopes = ["admin"]
value = "0123456789abcdef"
`;

const kubernetes = `${base}[system]
container_command = "kubernetes"
[registry]
url = "registry.example:5000"
`;

function load(text: string, files: Record<string, string> = {}, env: Record<string, string> = {}): AgentConfig {
  const all: Record<string, string> = { '/etc/holdfast/agent.toml': text, ...files };
  const readFile = (path: string): string => all[path] ?? assert.fail(`no such file ${path}`);
  return loadAgentConfig({ file: '/etc/holdfast/agent.toml', env, readFile });
}

function refusal(text: string, files: Record<string, string> = {}): string {
  try {
    load(text, files);
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'config_invalid', String(error));
    return error.message.replaceAll('/etc/holdfast/', '');
  }
  return assert.fail('it was accepted');
}

test('a database and a token are enough on a laptop', () => {
  const config = load(base);
  assert.equal(config.system.container_command, 'process');
  assert.equal(config.system.listen_port, 7400);
  assert.equal(config.app_config.kubernetes.strict_version_check, true);
  assert.notEqual(config.kubernetes.pod_name, '');
  assert.deepEqual(config.token, [
    {
      name: 'cli',
      scopes: ['admin'],
      digests: [tokenDigest('0123456789abcdef')],
      expires: undefined,
      file: undefined,
    },
  ]);
});

test('sqlite is refused in Kubernetes mode, by name and line', () => {
  assert.equal(
    refusal(kubernetes.replace('postgres://db.example/holdfast', 'sqlite:/data/holdfast.db')),
    'agent.toml:2:1: metadata.db_connection: sqlite: is not supported with container_command = "kubernetes": use postgres://user:password@host:port/database',
  );
});

test('a database that is no Postgres is refused in process mode too', () => {
  assert.match(
    refusal(base.replace('postgres:', 'mysql:')),
    /metadata\.db_connection: mysql: is not supported: use postgres/,
  );
  assert.match(
    refusal(base.replace('postgres://', '')),
    /metadata\.db_connection: is not a database URL: use postgres/,
  );
});

test('Kubernetes mode without a registry is refused', () => {
  const text = kubernetes.replace('url = "registry.example:5000"\n', '');
  assert.match(refusal(text), /^agent\.toml:9:2: registry\.url: is required with container_command = "kubernetes"/);
  assert.match(refusal(text.replace('[registry]\n', '')), /^agent\.toml: registry\.url: is required/);
});

test('an agent without a token is refused', () => {
  assert.match(refusal(base.slice(0, base.indexOf('[[token]]'))), /token: at least one \[\[token\]\] is required/);
});

test('an unknown key and a wrong type are reported together', () => {
  const message = refusal(`${base}[system]\nlisten_prt = 1\nlog_level = 5\n`);
  assert.match(message, /agent\.toml:8:1: system\.listen_prt: is not a known key; did you mean listen_port\?/);
  assert.match(message, /agent\.toml:9:1: system\.log_level: must be one of "debug", "info"/);
});

test('a bad route is refused with its line', () => {
  assert.match(
    refusal(`${base}[[app]]\nname = "a"\nsource = "."\npath = "/a?b"\n`),
    /^agent\.toml:10:1: app\[0\]\.path: must be \/path, host\/path/,
  );
});

test('two apps on one route are refused, however the route is spelled', () => {
  const app = (name: string, path: string): string => `[[app]]\nname = "${name}"\nsource = "."\npath = "${path}"\n`;
  assert.match(
    refusal(`${base}${app('a', 'Shop.example/x')}${app('b', 'shop.example/x/')}`),
    /^agent\.toml:14:1: app\[1\]\.path: app "a" has this route already/,
  );
  assert.match(refusal(`${base}${app('a', '/x')}${app('a', '/y')}`), /app\[1\]\.name: app\[0\] has this name already/);
});

test('secrets come from files beside the configuration', () => {
  const text = `${base}[registry]\nusername = "u"\npassword_file = "registry/password"\n[[token]]\nname = "router"\nscopes = ["router"]\nvalue_file = "/run/router-token"\n`;
  const files = { '/etc/holdfast/registry/password': 'hunter2\n', '/run/router-token': 'fedcba9876543210\n' };
  const config = load(text, files);
  assert.equal(config.registry.password, 'hunter2');
  assert.deepEqual(config.token[1]?.digests, [tokenDigest('fedcba9876543210')]);
  assert.equal(config.token[1]?.file, '/run/router-token');
});

test('a token is given as a hash, with a time at which it ends, or as a file of two while one replaces the other', () => {
  const hash = tokenDigest('0123456789abcdef0');
  const given = (lines: string): string => `${base}[[token]]\nname = "ci"\nscopes = ["deploy"]\n${lines}\n`;
  const [, hashed] = load(given(`value_sha256 = ["${hash.toUpperCase()}"]\nexpires = "2027-01-01T00:00:00Z"`)).token;
  assert.deepEqual([hashed?.digests, hashed?.expires], [[hash], '2027-01-01T00:00:00Z']);
  const two = { '/run/ci': 'first-token-12345678\nsecond-token-1234567\n' };
  const [, rotating] = load(given('value_file = "/run/ci"'), two).token;
  assert.deepEqual(rotating?.digests, ['first-token-12345678', 'second-token-1234567'].map(tokenDigest));
  assert.match(refusal(given('value_sha256 = ["abc"]')), /token\[1\]\.value_sha256\[0\]: must be a SHA-256 in hex/);
  assert.match(refusal(given(`value_sha256 = ["${hash}"]\nexpires = "soon"`)), /token\[1\]\.expires/);
  assert.match(
    refusal(given(`value_sha256 = ["${tokenDigest('0123456789abcdef')}"]`)),
    /is the same token as token\[0\]/,
  );
  assert.match(
    refusal(given(`value_sha256 = ["${hash}"]\nvalue = "0123456789abcdef1"`)),
    /exactly one of value, value_sha256 and value_file/,
  );
});

test('a secret file that is missing, empty or weak is refused by key and line', () => {
  const text = `${base}[[token]]\nname = "router"\nscopes = ["router"]\nvalue_file = "/run/token"\n`;
  assert.match(refusal(text), /agent\.toml:10:1: token\[1\]\.value_file: the file cannot be read/);
  assert.match(refusal(text, { '/run/token': '\n' }), /token\[1\]\.value_file: the file is empty/);
  assert.match(refusal(text, { '/run/token': 'short' }), /the token must have at least 16 characters/);
  assert.match(refusal(text, { '/run/token': '0123456789abcdef' }), /is the same token as token\[0\]/);
});

test('a relative source is meant from the folder of the configuration', () => {
  const config = load(`${base}[[app]]\nname = "a"\npath = "/a"\nsource = "apps/a"\n`);
  assert.equal(config.app[0]?.source, '/etc/holdfast/apps/a');
});

test('the environment sets every value, each by a name of its own', () => {
  const keys = environmentKeys(schemaKeys(agentConfig)).map((key) => variableOf(key.path));
  assert.equal(new Set(keys).size, keys.length);
  const config = load(
    base,
    {},
    { HOLDFAST_APP_CONFIG_CONTAINER_IDLE_SHUTDOWN_SECS: '5', HOLDFAST_REGISTRY_URL: 'https://r.example/' },
  );
  assert.equal(config.app_config.container.idle_shutdown_secs, 5);
  assert.equal(config.registry.url, 'r.example');
});

test('further registries are read with their passwords, and refused where two have a host or a key has no effect', () => {
  const base =
    '[metadata]\ndb_connection = "postgres://x@db/x"\n[registry]\nurl = "own.example"\n[[token]]\nname = "t"\nscopes = ["admin"]\nvalue = "a-token-for-tests-0123456789"\n';
  const load = (text: string): ReturnType<typeof loadAgentConfig> =>
    loadAgentConfig({
      file: '/etc/agent.toml',
      env: {},
      readFile: (path) => (path.endsWith('.toml') ? base + text : 'pa#ss/word'),
    });
  const { registries } = load(
    '[[registries]]\nhost = "https://Other.example:5000/"\nusername = "me"\npassword_file = "/run/p"\nca_file = "ca.pem"\n',
  );
  assert.deepEqual(
    registries.map(({ host, username, password, ca_file }) => [host, username, password, ca_file]),
    [['Other.example:5000', 'me', 'pa#ss/word', '/etc/ca.pem']],
  );
  assert.throws(
    () => load('[[registries]]\nhost = "a:1"\n[[registries]]\nhost = "A:1"\n'),
    /registries\[0\] has this host already/,
  );
  assert.throws(() => load('[[registries]]\nhost = "OWN.example"\n'), /is that of \[registry\]/);
  assert.throws(() => load('[[registries]]\nhost = "a"\npassword = "x"\n'), /username/);
  assert.throws(() => load('[[registries]]\nhost = "a"\ninsecure = true\nca_file = "x"\n'), /has no effect/);
});

test('a database URL that the driver would read otherwise is refused with what to do', () => {
  const load = (url: string): unknown =>
    loadAgentConfig({
      file: undefined,
      env: { HOLDFAST_METADATA_DB_CONNECTION: url, HOLDFAST_TOKEN: '' },
      readFile: () => '',
    });
  const messageOf = (url: string): string => {
    try {
      load(url);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  const unreadable = [
    'postgres://me:pa#ss@db/x',
    'postgres://me:pa/ss@db/x',
    'postgres://me:12/34@db/x',
    'postgres://me:pa?ss@db/x',
    'postgres://me:12?34@db/x',
    'postgres://me:100%@db/x',
    'postgres://me@db:port/x',
  ];
  for (const url of unreadable) assert.match(messageOf(url), /db_connection: cannot be read: .*# as %23/, url);
  const readable = [
    'postgres://me:pa%23ss%2F@db/x',
    'postgres://db/x',
    'postgres://me:p@/x?host=/run/pg',
    'postgresql://me:p@[::1]:5432/x?sslmode=require&sslrootcert=/ca.pem',
    'postgres://me:p%40@db.example/x?options=-c%20a=b@c',
  ];
  for (const url of readable) assert.doesNotMatch(messageOf(url), /cannot be read/, url);
});
