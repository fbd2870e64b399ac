/** What the chart accepts, and that what it writes is what agent and router accept. */
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { loadAgentConfig } from '../../agent/config/config.ts';
import { tokenDigest } from '../../shared/config/sections.ts';
import { loadRouterConfig } from '../../router/config.ts';
import { currentSchema, storedSchema } from './config-schema.ts';
import { chart, find, helm, render, scenarios } from './helm.ts';

const token = (path: string): string => `${path.replaceAll('/', '.')}.0123456789`;

describe('helm lint --strict', () => {
  for (const scenario of scenarios) {
    it(`accepts ${basename(scenario)}`, async () => {
      assert.match(await helm('lint', '--strict', '--values', scenario, chart), /0 chart\(s\) failed/);
    });
  }
});

describe('the configuration that is rendered', () => {
  for (const scenario of scenarios) {
    it(`is accepted by agent and router with ${basename(scenario)}`, async () => {
      const objects = await render(scenario);
      const configOf = (component: string): string =>
        find(objects, 'ConfigMap', `holdfast-${component}`)['data'][`${component}.toml`];
      const env = { HOLDFAST_METADATA_DB_CONNECTION: 'postgres://holdfast@db.example/holdfast' };
      const agentFile = configOf('agent');
      const agent = loadAgentConfig({
        file: '/etc/holdfast/agent.toml',
        env,
        readFile: (path) => (path.endsWith('.toml') ? agentFile : token(path)),
      });
      assert.equal(agent.system.container_command, 'kubernetes');
      assert.ok(agent.registry.url !== undefined);
      const router = loadRouterConfig({
        file: '/etc/holdfast/router.toml',
        env: {},
        readFile: (path) => (path.endsWith('.toml') ? configOf('router') : token(path)),
      });
      assert.deepEqual(agent.token.find(({ name }) => name === 'router')?.digests, [tokenDigest(router.token())]);
      assert.equal(new URL(router.agent_url).hostname, 'holdfast-agent.holdfast.svc');
    });
  }

  it('has what agent.config and router.config say', async () => {
    const objects = await render(
      'agent.config={"app_config":{"hold":{"timeout_secs":7}}}',
      'router.config={"access_log":true}',
    );
    assert.match(
      find(objects, 'ConfigMap', 'holdfast-agent')['data']['agent.toml'],
      /\[app_config\.hold\]\n\s*timeout_secs = 7/,
    );
    assert.match(find(objects, 'ConfigMap', 'holdfast-router')['data']['router.toml'], /access_log = true/);
  });

  it('has further registries from `registries` and from agent.config, with credentials and authority from Secrets', async () => {
    const objects = await render(
      'registries=[{"name":"team","host":"registry.team.example","username":"ci","existingSecret":"other","caSecret":"ca"}]',
      'agent.config={"registries":[{"host":"registry.plain.example:5000","insecure":true}]}',
    );
    const config = loadAgentConfig({
      file: '/etc/holdfast/agent.toml',
      env: { HOLDFAST_METADATA_DB_CONNECTION: 'postgres://holdfast@db.example/holdfast' },
      readFile: (path) =>
        path.endsWith('.toml') ? find(objects, 'ConfigMap', 'holdfast-agent')['data']['agent.toml'] : token(path),
    });
    assert.deepEqual(
      config.registries.map(({ host, insecure, username, ca_file }) => ({ host, insecure, username, ca_file })),
      [
        {
          host: 'registry.team.example',
          insecure: false,
          username: 'ci',
          ca_file: '/etc/holdfast/registries/team/ca.crt',
        },
        { host: 'registry.plain.example:5000', insecure: true, username: undefined, ca_file: undefined },
      ],
    );
  });

  it('restarts the pods that read it when it changes', async () => {
    const checksum = async (...values: string[]): Promise<string> =>
      find(await render(...values), 'Deployment', 'holdfast-router')['spec'].template.metadata.annotations[
        'checksum/config'
      ];
    assert.equal(await checksum(), await checksum());
    assert.notEqual(await checksum(), await checksum('router.config={"access_log":true}'));
  });
});

describe('router.domain', () => {
  const addressOf = async (...values: string[]): Promise<unknown[]> => {
    const objects = await render('router.domain="apps.example"', ...values);
    const toml: string = find(objects, 'ConfigMap', 'holdfast-agent')['data']['agent.toml'];
    const valueOf = (key: string): unknown => new RegExp(`${key} = "([^"]*)"`).exec(toml)?.[1];
    return [valueOf('default_domain'), valueOf('public_url')];
  };

  for (const [what, values, url] of [
    ['nothing leads there yet', [], undefined],
    ['publicUrl says so', ['router.publicUrl="https://www.example:8443"'], 'https://www.example:8443'],
    ['a load balancer does', ['router.service.type="LoadBalancer"'], 'http://apps.example'],
    ['one on another port does', ['router.service={"type":"LoadBalancer","port":8080}'], 'http://apps.example:8080'],
    ['one with TLS does', ['router.service.type="LoadBalancer"', 'router.tls.secrets=["a"]'], 'https://apps.example'],
    ['nodes do', ['router.service={"type":"NodePort","nodePort":30080}'], 'http://apps.example:30080'],
    ['nodes do on a port that is not known', ['router.service.type="NodePort"'], undefined],
    ['an ingress does', ['router.ingress.enabled=true'], 'http://apps.example'],
    [
      'an ingress with TLS does',
      ['router.ingress={"enabled":true,"tls":[{"secretName":"a"}]}'],
      'https://apps.example',
    ],
  ] as const) {
    it(`is the default domain of the agent, and the public URL is ${url ?? 'left out'} where ${what}`, async () => {
      assert.deepEqual(await addressOf(...values), ['apps.example', url]);
    });
  }

  it('gives the ingress the domain and every host directly below it', async () => {
    const objects = await render(
      'router.domain="apps.example"',
      'router.ingress={"enabled":true,"hosts":["apps.example","b.example"]}',
    );
    const { rules } = find(objects, 'Ingress', 'holdfast-router')['spec'];
    assert.deepEqual(
      rules.map(({ host }: { host: string }) => host),
      ['apps.example', '*.apps.example', 'b.example'],
    );
  });
});

describe('values.schema.json', () => {
  it('has the keys of the configuration as agent and router have them (write it: node test/chart/config-schema.ts)', async () => {
    assert.equal(storedSchema(), await currentSchema());
  });

  const refused: readonly (readonly [what: string, value: string, key: RegExp])[] = [
    ['an unknown key', 'rooter={"replicas":2}', /rooter/],
    ['an unknown key inside', 'router.replica=2', /replica/],
    ['a wrong type', 'router.replicas="two"', /router\/replicas/],
    ['an unknown key of the router’s configuration', 'router.config={"drain_secs":1}', /drain_secs/],
    ['an unknown key of the agent’s configuration', 'agent.config={"app_config":{"hold":{"calls":1}}}', /calls/],
    ['a key of the configuration that the chart sets', 'agent.config={"registry":{"url":"x"}}', /registry/],
    ['a value out of range', 'router.config={"lease_secs":0}', /lease_secs/],
    ['a service type that does not exist', 'router.service.type="External"', /service\/type/],
    ['a key of [builder] that the chart sets', 'agent.config={"builder":{"fetch_image":"x"}}', /fetch_image/],
    ['a builder that does not exist', 'builder={"mode":"buildkit"}', /builder\/mode/],
    ['credentials for git without hosts', 'git={"credentials":[{"name":"a","existingSecret":"b"}]}', /hosts/],
    ['a key of [router.tls] that the chart sets', 'router.config={"tls":{"cert_folder":"/x"}}', /cert_folder/],
    ['a domain with a wildcard', 'router.domain="*.apps.example"', /domain/],
    ['a public URL with a path', 'router.publicUrl="https://apps.example/x"', /publicUrl/],
    ['a registry with a password and no user', 'registries=[{"name":"a","host":"b","existingSecret":"c"}]', /username/],
    ['a malformed digest', 'image.digest="sha256:1"', /digest/],
  ];
  for (const [what, value, key] of refused) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(render(value), (error: Error) => key.test(error.message) && /schema/.test(error.message));
    });
  }
});

describe('the templates', () => {
  const refused: readonly (readonly [what: string, values: string[], key: RegExp])[] = [
    ['no database', ['postgres.enabled=false'], /externalDatabase\.url/],
    ['no registry', ['registry.enabled=false'], /externalRegistry\.url/],
    ['a delegated builder without URL', ['builder={"mode":"delegate"}'], /builder\.delegate\.url/],
    ['apps in the namespace of Holdfast', ['apps.namespace="holdfast"'], /apps\.namespace/],
    [
      'a redirect to TLS without certificates',
      ['router.config={"tls":{"redirect_http":true}}'],
      /router\.tls\.secrets/,
    ],
    ['an ingress without hosts', ['router.ingress.enabled=true'], /router\.ingress\.hosts/],
  ];
  for (const [what, values, key] of refused) {
    it(`refuse ${what}, naming the key`, async () => {
      await assert.rejects(render(...values), key);
    });
  }
});

describe('an external database by its parts', () => {
  const parts = {
    host: 'db.example',
    user: 'me@team',
    database: 'hold fast',
    password: 'p#/@$(X)"',
    sslmode: 'require',
  };
  it('has a URL without the password, which is in a Secret as it is', async () => {
    const objects = await render('postgres.enabled=false', `externalDatabase=${JSON.stringify(parts)}`);
    const [container] = find(objects, 'Deployment', 'holdfast-agent')['spec'].template.spec.containers;
    const env = Object.fromEntries(container.env.map((one: { name: string }) => [one.name, one]));
    assert.equal(
      env['HOLDFAST_METADATA_DB_CONNECTION'].value,
      'postgres://me%40team@db.example:5432/hold%20fast?sslmode=require',
    );
    assert.deepEqual(env['PGPASSWORD'].valueFrom.secretKeyRef, { name: 'holdfast-database', key: 'password' });
    const { data } = find(objects, 'Secret', 'holdfast-database');
    assert.equal(Buffer.from(data.password, 'base64').toString(), parts.password);
  });

  it('takes the password from a Secret that is there', async () => {
    const { password: _, ...rest } = parts;
    const given = { ...rest, existingSecret: 'team-db', passwordKey: 'pw' };
    const objects = await render('postgres.enabled=false', `externalDatabase=${JSON.stringify(given)}`);
    const [container] = find(objects, 'Deployment', 'holdfast-agent')['spec'].template.spec.containers;
    const password = container.env.find(({ name }: { name: string }) => name === 'PGPASSWORD');
    assert.deepEqual(password.valueFrom.secretKeyRef, { name: 'team-db', key: 'pw' });
    assert.ok(!objects.some(({ metadata }) => metadata.name === 'holdfast-database'));
  });
});
