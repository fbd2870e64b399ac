import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appConfig } from '../../../shared/protocol/app-config.ts';
import { appSpec, type AppSpecInput } from '../../../shared/protocol/app-spec.ts';
import type { Pin } from '../../platform/platform.ts';
import type { AppRecord } from '../../store/records.ts';
import { planApply, planRollback, type Plan } from './plan.ts';

const digest = (digit: string): Pin => ({
  imageDigest: `sha256:${digit.repeat(64)}`,
  sourceDigest: null,
  imageTag: null,
});

function spec(more: Partial<AppSpecInput> = {}) {
  return appSpec.parse({ name: 'a', path: '/a', image: 'app:1', ...more });
}

interface Situation {
  readonly records?: readonly AppRecord[];
  readonly pins?: Readonly<Record<string, Pin>>;
  readonly serving?: boolean;
}

function plan(specs: readonly AppSpecInput[], { records = [], pins = {}, serving = true }: Situation = {}): Plan {
  return planApply({
    specs: specs.map((one) => appSpec.parse(one)),
    pins: new Map(Object.entries(pins)),
    records: new Map(records.map((record) => [record.name, record])),
    isServing: () => serving,
    defaults: appConfig.parse({}),
    actor: 'test',
    now: '2026-01-02T03:04:05.000Z',
  });
}

/** What an apply leads to, as the next one finds it. */
function applied(specs: readonly AppSpecInput[], situation: Situation = {}): AppRecord[] {
  const { declaration } = plan(specs, situation);
  const updated = declaration.updated.map(({ app, added }) => ({
    ...app,
    versions: new Map([...app.versions, ...(added ? [[added.version, added] as const] : [])]),
  }));
  return [...declaration.created, ...updated];
}

test('a new app is version 1, and the same again is unchanged', () => {
  assert.deepEqual(plan([spec()]).changes, [{ app: 'a', action: 'create', version: 1, fields: [] }]);
  const again = plan([spec()], { records: applied([spec()]) });
  assert.deepEqual(again.changes, [{ app: 'a', action: 'unchanged', version: 1, fields: [] }]);
  assert.deepEqual(again.declaration.updated, []);
});

test('a change is a new live version, with the changed keys', () => {
  const { changes, declaration } = plan([spec({ image: 'app:2' })], { records: applied([spec()]) });
  assert.deepEqual(changes, [
    { app: 'a', action: 'update', version: 2, fields: [{ key: 'image', from: 'app:1', to: 'app:2' }] },
  ]);
  const [update] = declaration.updated;
  assert.deepEqual([update?.app.live, update?.app.pending, update?.app.generation], [2, null, 2]);
});

test('values of secrets are never shown', () => {
  const records = applied([spec({ secrets: { KEY: 'old' } })]);
  const { changes, declaration } = plan([spec({ secrets: { KEY: 'new', MORE: 'x' } })], { records });
  assert.deepEqual(changes[0]?.fields, [{ key: 'secrets', from: ['KEY'], to: ['KEY', 'MORE'] }]);
  assert.doesNotMatch(JSON.stringify(declaration.events), /new|old/);
});

test('a tag that moved is a change; a registry that is away is none', () => {
  const records = applied([spec()], { pins: { a: digest('1') } });
  assert.equal(plan([spec()], { records, pins: { a: digest('2') } }).changes[0]?.action, 'update');
  assert.equal(plan([spec()], { records }).changes[0]?.action, 'unchanged');
});

test('with update.hold = false the new version waits behind the live one, while that answers', () => {
  const next = spec({ image: 'app:2', config: { update: { hold: false } } });
  const behind = plan([next], { records: applied([spec()]) }).declaration.updated[0]?.app;
  assert.deepEqual([behind?.live, behind?.pending], [1, 2]);
  const asleep = plan([next], { records: applied([spec()]), serving: false }).declaration.updated[0]?.app;
  assert.deepEqual([asleep?.live, asleep?.pending], [2, null]);
});

test('an app with a volume never runs two versions at once, whatever update.hold says', () => {
  const volumes = [{ name: 'data', path: '/data' }];
  const next = spec({ image: 'app:2', volumes, config: { update: { hold: false } } });
  assert.equal(plan([next], { records: applied([spec({ volumes })]) }).declaration.updated[0]?.app.live, 2);
});

test('two apps on one route are refused, naming both and the key', () => {
  const conflict = {
    code: 'route_conflict',
    message: /app b: path \/a already leads to app a/,
    data: { app: 'b', key: 'path', holder: 'a' },
  };
  assert.throws(() => plan([spec(), spec({ name: 'b' })]), conflict);
  assert.throws(() => plan([spec({ name: 'b' })], { records: applied([spec()]) }), conflict);
  assert.throws(() => plan([spec({ name: 'b', path: '/a/' })], { records: applied([spec()]) }), conflict);
});

test('one app declared twice is refused', () => {
  assert.throws(() => plan([spec(), spec({ path: '/b' })]), { code: 'app_invalid', message: /declared twice/ });
});

test('two apps may change routes with each other in one apply', () => {
  const records = applied([spec(), spec({ name: 'b', path: '/b' })]);
  const { changes } = plan([spec({ path: '/b' }), spec({ name: 'b', path: '/a' })], { records });
  assert.deepEqual(
    changes.map(({ action }) => action),
    ['update', 'update'],
  );
});

test('a rollback moves the pointer and the route, and drops a pending version', () => {
  const [first] = applied([spec()]);
  const [second] = applied([spec({ path: '/new' })], { records: [first!] });
  const declaration = planRollback(second!, first!.versions.get(1)!, {
    records: new Map([['a', second!]]),
    actor: 'test',
    now: '2026-01-02T03:04:05.000Z',
  });
  const [{ app, added } = assert.fail()] = declaration.updated;
  assert.deepEqual([app.live, app.pending, app.path, app.latest, added], [1, null, '/a', 2, undefined]);
});

test('a secret declared as it is shown keeps its value', () => {
  const records = applied([spec({ secrets: { KEY: 'one' } })]);
  assert.equal(plan([spec({ secrets: { KEY: '***' } })], { records }).changes[0]?.action, 'unchanged');
  const { declaration } = plan([spec({ secrets: { KEY: '***', NEW: 'two' } })], { records });
  assert.deepEqual(declaration.updated[0]?.added?.spec.secrets, { KEY: 'one', NEW: 'two' });
  assert.throws(() => plan([spec({ secrets: { OTHER: '***' } })], { records }), {
    code: 'app_invalid',
    message: 'app a: secrets.OTHER is *** and has no earlier value to keep',
  });
  for (const name of ['constructor', 'toString', 'hasOwnProperty'])
    assert.throws(() => plan([spec({ secrets: { [name]: '***' } })], { records }), { code: 'app_invalid' }, name);
});

test('a version that changes nothing of the image has the image of the one before, without asking anyone', () => {
  const source = (more: Partial<AppSpecInput> = {}) =>
    appSpec.parse({ name: 'a', path: '/a', source: 'https://git.example/a.git', ...more });
  const pins = { a: { imageDigest: null, sourceDigest: 'git:1', imageTag: null } };
  const [record] = applied([source()], { pins });
  assert.ok(record);
  const first = record.versions.get(1);
  assert.ok(first);
  const built = { ...first, imageDigest: 'sha256:1', imageTag: 'tag' };
  const records = [{ ...record, versions: new Map([[1, built]]) }];
  const next = (specs: AppSpecInput, pin: Pin) =>
    plan([specs], { records, pins: { a: pin } }).declaration.updated[0]?.added;
  const same = next(source({ env: { A: '1' } }), pins.a);
  assert.deepEqual([same?.imageDigest, same?.imageTag], ['sha256:1', 'tag']);
  const moved = next(source(), { ...pins.a, sourceDigest: 'git:2' });
  assert.deepEqual([moved?.imageDigest, moved?.imageTag], [null, null]);
  const other = next(source({ build: { args: { A: '1' } } }), pins.a);
  assert.deepEqual([other?.imageDigest, other?.imageTag], [null, null]);
  // The image of a preset may have nothing to start where the app says itself what runs.
  const commanded = next(source({ command: ['node', 'x.js'] }), pins.a);
  assert.deepEqual([commanded?.imageDigest, commanded?.imageTag], [null, null]);
});
