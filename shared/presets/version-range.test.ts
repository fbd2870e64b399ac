import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admits } from './version-range.ts';

void test('a line of versions fits a range if one of its releases does', () => {
  const cases: [string, string, boolean | undefined][] = [
    ['22', '22', true],
    ['22.3.0', '22', true],
    ['v22.3.0', '22', true],
    ['22', '20', false],
    ['>=18', '24', true],
    ['>=18 <23', '24', false],
    ['>= 18.0.0, < 23', '22', true],
    ['^20.9.0', '22', false],
    ['^18.18.0 || >=20', '20', true],
    ['^18.18.0 || >=20', '19', false],
    ['20.x', '20', true],
    ['20.x || 22.x', '22', true],
    ['18 - 20', '20', true],
    ['18 - 20', '22', false],
    ['*', '24', true],
    ['>20', '20', false],
    ['<=20', '20', true],
    ['~20.1', '20', true],
    ['^0.2.3', '0.2', true],
    ['^0.2.3', '0.3', false],
    ['>=3.10,<3.13', '3.13', false],
    ['>=3.10,<3.13', '3.12', true],
    ['~=3.11', '3.13', true],
    ['~=3.11.2', '3.12', false],
    ['==3.12.*', '3.12', true],
    ['==3.12.*', '3.11', false],
    ['!=3.9', '3.12', true],
    ['~> 3.2', '3.4', true],
    ['1.22.5', '1.22', true],
    ['lts/*', '24', undefined],
    ['whatever', '24', undefined],
  ];
  for (const [range, line, expected] of cases) assert.equal(admits(range, line), expected, `${range} ${line}`);
});
