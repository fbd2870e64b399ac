/** Small repositories of many shapes, and the plan that each of them gets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFor } from './folder-plan.ts';
import type { Plan } from './plan.ts';
import { imageFiles } from './render/dockerfile.ts';
import { summary } from './render/summary.ts';
import { requestOf } from './testing/made.ts';
import { nodeRepositories } from './testing/repositories/node.ts';
import { bunAndDenoRepositories, goRepositories, refusedRepositories, siteRepositories } from './testing/repositories/others.ts'; // prettier-ignore
import { testTree } from './testing/tree.ts';

const all = [...nodeRepositories, ...siteRepositories, ...goRepositories, ...bunAndDenoRepositories, ...refusedRepositories]; // prettier-ignore

function startText({ start }: Plan): string {
  if (start.kind === 'site') return `site ${start.folders.map((folder) => (folder === '' ? '.' : folder)).join(' ')}`;
  if (start.kind === 'none') return 'none';
  const [program, flag, script] = start.words;
  return program === 'sh' && flag === '-c' ? (script ?? '').replace(/^exec /, '') : start.words.join(' ');
}

for (const { name, files, settings = {}, expected } of all) {
  void test(`plan: ${name}`, async () => {
    const tree = testTree(files);
    const request = requestOf(settings);
    if ('refused' in expected) {
      await assert.rejects(planFor(tree, request), { message: expected.refused });
      return;
    }
    const plan = await planFor(tree, request);
    assert.equal(plan.preset, expected.preset);
    assert.equal(startText(plan), expected.start);
    if (expected.image !== undefined) assert.equal(plan.build?.image ?? plan.run.image, expected.image);
    if (expected.dir !== undefined) assert.equal(plan.dir, expected.dir);
    if (expected.steps !== undefined) assert.ok(summary(plan).includes(expected.steps), summary(plan));
    const { dockerfile } = await imageFiles(tree, plan, request);
    assert.match(dockerfile, /^USER [1-9]\d*:[1-9]\d*$/m);
    assert.doesNotMatch(dockerfile, /<<|--mount|--link|--chmod/);
  });
}
