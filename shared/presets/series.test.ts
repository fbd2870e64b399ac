import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allows, pick, seriesOf } from './series.ts';

void test('a series is in a range if one of its releases is', () => {
  const cases: [range: string, inside: string[], outside: string[]][] = [
    ['>=3.9', ['3.9', '3.14'], ['3.8', '2.7']],
    ['>=3.9,<3.13', ['3.9', '3.12'], ['3.13']],
    ['>=3.9, <3.13.2', ['3.13'], ['3.14']],
    ['<3.13.0', ['3.12'], ['3.13']],
    ['<=3.12', ['3.12'], ['3.13']],
    ['^3.11', ['3.11', '3.13'], ['3.10', '4.0']],
    ['~=3.11', ['3.11', '3.13'], ['3.10', '4.0']],
    ['~=3.11.2', ['3.11'], ['3.12', '3.10']],
    ['~> 3.2.0', ['3.2'], ['3.3']],
    ['~> 3.2', ['3.2', '3.4'], ['4.0']],
    ['==3.12.*', ['3.12'], ['3.11', '3.13']],
    ['3.*', ['3.8'], ['4.0']],
    ['3.12.4', ['3.12'], ['3.11']],
    ['!=3.13.1,>=3.10', ['3.13'], ['3.9']],
    ['!=3.13.*', ['3.12'], ['3.13']],
    ['>=8.1 <8.4', ['8.1', '8.3'], ['8.4', '8.0']],
    ['^7.4 || ^8.1', ['7.4', '8.2'], ['7.3', '8.0', '9.0']],
    ['*', ['3.9'], []],
  ];
  for (const [range, inside, outside] of cases) {
    for (const one of inside) assert.ok(allows(range, one), `${range} allows ${one}`);
    for (const one of outside) assert.ok(!allows(range, one), `${range} excludes ${one}`);
  }
});

void test('a tilde is read as the manifest of its language means it', () => {
  assert.deepEqual([allows('~3.11', '3.12', 'minor'), allows('~3.11', '3.11', 'minor')], [false, true]);
  assert.deepEqual([allows('~8.1', '8.3', 'major'), allows('~8.1.2', '8.2', 'major')], [true, false]);
});

void test('the preferred version is picked where it fits, otherwise the newest', () => {
  const known = ['3.9', '3.10', '3.12', '3.13', '3.14'];
  assert.equal(pick('>=3.9', known, '3.13'), '3.13');
  assert.equal(pick('<3.13', known, '3.13'), '3.12');
  assert.equal(pick('>=3.14', known, '3.13'), '3.14');
  assert.equal(pick('<3', known, '3.13'), undefined);
});

void test('the series of a version is read from what tools write', () => {
  assert.deepEqual(
    ['python-3.12.4', '3.12', 'cpython@3.11.1', 'system'].map((one) => seriesOf(one, 2)),
    ['3.12', '3.12', '3.11', undefined],
  );
});
