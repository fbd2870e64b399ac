/** Callers that come and leave, builds that end in every way, and leads that are lost, in any order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { AppError } from '../../shared/errors.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { ground, runOf, until } from '../testing/images.ts';

type Step =
  | { readonly kind: 'ask'; readonly app: number; readonly commit: number }
  | { readonly kind: 'leave' | 'finish' | 'fail' | 'pass'; readonly which: number }
  | { readonly kind: 'lead' | 'time' };

const which = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('ask' as const), app: fc.nat(3), commit: fc.nat(2) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('leave', 'finish', 'fail', 'pass'), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('lead', 'time') }) },
);

test('whatever happens, one image has one build at a time, and in the end nothing is held', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const g = await ground(t, { maxRunning: 2, retryMs: 5_000 });
      const asked: ReturnType<typeof g.ask>[] = [];
      const open = new Map<string, number>();
      const build = g.builder.build.bind(g.builder);
      g.builder.build = async (request, options) => {
        const { tag } = request;
        open.set(tag, (open.get(tag) ?? 0) + 1);
        assert.equal(open.get(tag), 1, 'two builds of one image at a time');
        assert.ok([...open.values()].filter((count) => count > 0).length <= 2, 'more builds than may run');
        try {
          return await build(request, options);
        } finally {
          open.set(tag, 0);
        }
      };
      for (const [version, one] of steps.entries()) {
        const running = g.builder.builds.filter(({ request }) => open.get(request.tag) === 1);
        const picked = 'which' in one ? running[one.which % Math.max(1, running.length)] : undefined;
        switch (one.kind) {
          case 'ask':
            asked.push(g.ask(runOf(`app${one.app}`, version + 1, `c${one.commit}`)));
            break;
          case 'leave':
            asked[one.which % Math.max(1, asked.length)]?.leave();
            break;
          case 'finish':
            picked?.finish();
            break;
          case 'fail':
            picked?.fail(new AppError('build_failed', 'RUN', { phase: 'build' }));
            break;
          case 'pass':
            picked?.fail(new AppError('builder_unavailable', 'away', { phase: 'build' }));
            break;
          case 'time':
            g.clock.advance(2_000);
            break;
          case 'lead': {
            const cancelled = g.builder.cancelled.length;
            g.images.releaseLead();
            await turns(5);
            assert.equal(g.builder.cancelled.length, cancelled, 'cancelled after the lead was lost');
            for (const { leave } of asked) leave();
            await g.images.adopt([], new AbortController().signal);
            break;
          }
        }
        await turns(3);
      }
      for (const { leave } of asked) leave();
      const settled = Promise.allSettled(asked.map(({ result }) => result));
      await settled;
      await until(() => g.images.running === 0 && g.images.queued === 0, 'no build has or waits for a turn');
      await until(() => g.sources.onDisk === 0, 'no tree is held');
      await g.images.close();
      assert.equal([...open.values()].filter((count) => count > 0).length, 0);
    }),
    { numRuns: 100 },
  );
});
