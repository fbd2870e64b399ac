import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appSpec } from './app-spec.ts';
import { parseRunningSpan, RunningHours } from './running-hours.ts';

const at = (iso: string): number => Date.parse(iso);

test('hours are those of the local clock, in winter and in summer', () => {
  const hours = new RunningHours(['Mon-Fri 08:00-18:00 Europe/Berlin']);
  assert.equal(hours.within(at('2026-01-05T06:59:59Z')), false);
  assert.equal(hours.within(at('2026-01-05T07:00:00Z')), true);
  assert.equal(hours.within(at('2026-01-05T16:59:59Z')), true);
  assert.equal(hours.within(at('2026-01-05T17:00:00Z')), false);
  assert.equal(hours.within(at('2026-07-06T05:59:59Z')), false);
  assert.equal(hours.within(at('2026-07-06T06:00:00Z')), true);
  assert.equal(hours.within(at('2026-07-04T10:00:00Z')), false, 'a Saturday');
});

test('a span that ends before it begins goes on into the next day, over the end of the week too', () => {
  const hours = new RunningHours(['Sat 22:00-06:00']);
  assert.equal(hours.within(at('2026-01-03T21:59:00Z')), false);
  assert.equal(hours.within(at('2026-01-03T22:00:00Z')), true);
  assert.equal(hours.within(at('2026-01-04T05:59:00Z')), true);
  assert.equal(hours.within(at('2026-01-04T06:00:00Z')), false);
  assert.equal(hours.within(at('2026-01-04T22:00:00Z')), false);
});

test('days may be ranges over the end of the week, and a whole day is 00:00-24:00', () => {
  const hours = new RunningHours(['Fri-Mon,Wed 00:00-24:00']);
  const within = [5, 6, 7, 8, 9, 10, 11].map((day) => hours.within(at(`2026-01-${String(day).padStart(2, '0')}T12:00:00Z`))); // prettier-ignore
  assert.deepEqual(within, [true, false, true, false, true, true, true]);
});

test('a span in the hour that the clocks leave out begins after it, and one in the repeated hour lasts through it', () => {
  const spring = new RunningHours(['Sun 02:30-04:00 Europe/Berlin']);
  assert.equal(spring.within(at('2026-03-29T00:59:00Z')), false); // 01:59
  assert.equal(spring.within(at('2026-03-29T01:00:00Z')), true); // 03:00
  assert.equal(spring.within(at('2026-03-29T02:00:00Z')), false); // 04:00
  const autumn = new RunningHours(['Sun 02:00-03:00 Europe/Berlin']);
  assert.equal(autumn.within(at('2026-10-25T00:00:00Z')), true); // 02:00, summer time
  assert.equal(autumn.within(at('2026-10-25T01:59:00Z')), true); // 02:59, winter time
  assert.equal(autumn.within(at('2026-10-25T02:00:00Z')), false);
});

test('what is no span is told by what is wrong with it', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['weekdays 8-18', /must be days, hours/],
    ['Mon-Foo 08:00-18:00', /must be days, hours/],
    ['Mon 24:00-25:00', /must be days, hours/],
    ['Mon 08:60-18:00', /must be days, hours/],
    ['Mon 08:00-08:00', /00:00-24:00 is the whole day/],
    ['Mon 08:00-18:00 Europe/Atlantis', /not known: Europe\/Atlantis/],
  ];
  for (const [text, wrong] of cases) {
    const span = parseRunningSpan(text);
    assert.match(typeof span === 'string' ? span : '', wrong);
  }
});

test('an app with hours in a zone that is not known is refused, by the key', () => {
  const config = { container: { running_hours: ['Mon 08:00-18:00', 'Mon 08:00-18:00 Europe/Atlantis'] } };
  const { error } = appSpec.safeParse({ name: 'a', path: '/a', image: 'x', config });
  assert.deepEqual(
    error?.issues.map(({ path, message }) => [path.join('.'), message]),
    [['config.container.running_hours.1', 'names a time zone that is not known: Europe/Atlantis']],
  );
});
