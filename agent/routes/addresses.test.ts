import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { declaredApp, type DeclaredAppInput } from '../../shared/protocol/app-spec.ts';
import { createAddresses, type Addresses, type AddressesConfig } from './addresses.ts';

function addressesOf(config: Partial<AddressesConfig> = {}, hosts: readonly string[] = []): Addresses {
  return createAddresses({ reserved_hosts: [], ...config }, { hosts, defaults: { strip_path: true } });
}

function app(more: Partial<DeclaredAppInput> = {}) {
  return declaredApp.parse({ name: 'shop', image: 'registry.example/shop:1', ...more });
}

function refusal(addresses: Addresses, more: Partial<DeclaredAppInput> = {}): string {
  try {
    addresses.route(app(more));
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'app_invalid', String(error));
    assert.equal(error.data?.['key'], 'path');
    return error.message;
  }
  return assert.fail('it was accepted');
}

test('an app without a path gets a host below the default domain, and a declared path stays', () => {
  const addresses = addressesOf({ default_domain: 'apps.example' });
  assert.equal(addresses.route(app()).path, 'shop.apps.example');
  assert.equal(addresses.route(app({ path: '/shop' })).path, '/shop');
  assert.match(refusal(addressesOf()), /^app shop: path is required, because the agent has no default_domain/);
});

test('no app gets a host that leads elsewhere', () => {
  const addresses = addressesOf(
    {
      default_domain: 'apps.example',
      public_url: 'https://www.apps.example',
      reserved_hosts: ['rpc.apps.example', '*.in.example'],
    },
    ['registry.apps.example'],
  );
  assert.match(refusal(addresses, { name: 'rpc' }), /the host rpc\.apps\.example is reserved/);
  assert.match(refusal(addresses, { path: 'RPC.apps.example/x' }), /the host rpc\.apps\.example is reserved/);
  assert.match(refusal(addresses, { path: 'a.b.in.example' }), /reserved/);
  assert.match(refusal(addresses, { name: 'registry' }), /its host would be registry\.apps\.example/);
  assert.match(refusal(addresses, { name: 'www' }), /its host would be www\.apps\.example/);
  // A declared path is a choice, and was allowed before there were default hosts.
  assert.equal(addresses.route(app({ path: 'www.apps.example/shop' })).path, 'www.apps.example/shop');
});

test('URLs have the scheme and the port of public_url, and its host where the route has none', () => {
  const addresses = addressesOf({ public_url: 'https://apps.example:8443' });
  const urlOf: Addresses['urlOf'] = (route, config) => addresses.urlOf(route, config);
  assert.equal(urlOf({ host: 'shop.example', path: '/' }, {}), 'https://shop.example:8443');
  assert.equal(urlOf({ host: '', path: '/' }, {}), 'https://apps.example:8443');
  assert.equal(urlOf({ host: '', path: '/shop' }, {}), 'https://apps.example:8443/shop/');
  assert.equal(urlOf({ host: '', path: '/shop' }, { strip_path: false }), 'https://apps.example:8443/shop');
  assert.equal(urlOf({ host: '*.shop.example', path: '/' }, {}), null);
  assert.equal(addressesOf().urlOf({ host: 'shop.example', path: '/' }, {}), null);
});
