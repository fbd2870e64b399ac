/** Compares the plans of small repositories with what is expected of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFor } from '../folder-plan.ts';
import type { Plan, PlanCommand } from '../plan.ts';
import { requestOf } from './made.ts';
import type { ExpectedPlan, Repository } from './repository.ts';
import { testTree } from './tree.ts';

export function testTable(repositories: readonly Repository[]): void {
  for (const { name, files, settings = {}, route, expected } of repositories) {
    void test(`the plan of: ${name}`, async () => {
      const plan = planFor(testTree(files), requestOf(settings, { route }));
      if (expected.error !== undefined) {
        await assert.rejects(plan, { message: expected.error });
        return;
      }
      const made = await plan;
      assert.deepEqual(shown(made, expected), wanted(expected));
      if (expected.note !== undefined) assert.match((made.notes ?? []).join('\n'), expected.note);
    });
  }
}

function wanted({ note: _note, ...expected }: ExpectedPlan): object {
  return expected;
}

/** Returns those parts of a plan that are expected. */
function shown(plan: Plan, expected: ExpectedPlan): object {
  const { build, run, start } = plan;
  const all: Required<Omit<ExpectedPlan, 'error' | 'note'>> = {
    title: plan.title,
    images: [build?.image, run.image],
    packages: [build?.systemPackages ?? [], run.systemPackages],
    commands: [...(build?.install ?? []), ...(build?.build ?? [])].flatMap(text),
    start: start.kind === 'command' ? plain(start.words) : start.kind,
    site: start.kind === 'site' ? start.folders : [],
    env: Object.fromEntries(Object.keys(expected.env ?? {}).map((key) => [key, run.env[key] ?? ''])),
    manifests: build?.manifests ?? [],
  };
  return Object.fromEntries(Object.entries(all).filter(([key]) => key in expected));
}

function text({ words, title, only, in: folder }: PlanCommand): string[] {
  return only === 'process' ? [] : [`${title ?? words.join(' ')}${folder === undefined ? '' : ` (in ${folder})`}`];
}

function plain(words: readonly string[]): string {
  const [program, flag, script] = words;
  return program === 'sh' && flag === '-c' && script !== undefined ? script.replace(/^exec /, '') : words.join(' ');
}
