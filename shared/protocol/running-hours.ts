/** Parses the running hours of an app (days, hours and a time zone), and tells whether a moment is within them. */

export const runningHoursForm =
  'must be days, hours and perhaps a time zone, as in "Mon-Fri 08:00-18:00 Europe/Berlin"';

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const form =
  /^(?<days>[A-Za-z]{3}(?:-[A-Za-z]{3})?(?:,[A-Za-z]{3}(?:-[A-Za-z]{3})?){0,6}) (?<from>\d\d:\d\d)-(?<to>\d\d:\d\d)(?: (?<zone>[A-Za-z0-9_+/-]{1,64}))?$/;
const dayMinutes = 24 * 60;
const minuteMs = 60_000;

/** A span of running hours; `from` and `to` are minutes of the local day. */
export interface RunningSpan {
  /** The days on which the span begins, as in `Date.getDay`. */
  readonly days: ReadonlySet<number>;
  readonly from: number;
  /** If this is not above `from`, the span ends on the following day. */
  readonly to: number;
  readonly zone: string;
}

/** @returns the span, or a message that says what is wrong with the text. */
export function parseRunningSpan(text: string): RunningSpan | string {
  const parts = form.exec(text)?.groups;
  if (parts === undefined) return runningHoursForm;
  const named = daysOf(parts['days'] ?? '');
  const from = minutesOf(parts['from'] ?? '');
  const to = minutesOf(parts['to'] ?? '');
  if (named === undefined || from === undefined || to === undefined || from === dayMinutes) return runningHoursForm;
  if (from === to) return 'must end at another time than it begins; 00:00-24:00 is the whole day';
  const zone = parts['zone'] ?? 'UTC';
  try {
    localTimeIn(zone);
  } catch {
    return `names a time zone that is not known: ${zone}`;
  }
  return { days: named, from, to, zone };
}

/** Parses days such as `Mon-Fri,Sun`; a range may wrap around the end of the week. */
function daysOf(text: string): ReadonlySet<number> | undefined {
  const found = new Set<number>();
  for (const range of text.split(',')) {
    const [first, last] = range.split('-').map((day) => days.findIndex((known) => known === day));
    if (first === undefined || first < 0 || last === -1) return undefined;
    for (let day = first; ; day = (day + 1) % 7) {
      found.add(day);
      if (day === (last ?? first)) break;
    }
  }
  return found;
}

function minutesOf(text: string): number | undefined {
  const [hours = NaN, minutes = NaN] = text.split(':').map(Number);
  const sum = hours * 60 + minutes;
  return minutes < 60 && sum <= dayMinutes ? sum : undefined;
}

function localTimeIn(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
}

/**
 * Running hours are checked against the current local time of each zone, so daylight saving time needs no special rule:
 * a span that begins in the skipped hour begins with the hour after it.
 */
export class RunningHours {
  readonly #spans: readonly { readonly span: RunningSpan; readonly local: Intl.DateTimeFormat }[];
  /** The answer for the current minute is cached, since many callers ask at once. */
  #last = { minute: NaN, within: false };

  /** @param texts valid spans. */
  constructor(texts: readonly string[]) {
    this.#spans = texts.flatMap((text) => {
      const span = parseRunningSpan(text);
      return typeof span === 'string' ? [] : [{ span, local: localTimeIn(span.zone) }];
    });
  }

  /** @param wallMs milliseconds since 1970. */
  within(wallMs: number): boolean {
    const minute = Math.floor(wallMs / minuteMs);
    if (this.#last.minute !== minute) {
      this.#last = { minute, within: this.#spans.some(({ span, local }) => isWithin(span, local, wallMs)) };
    }
    return this.#last.within;
  }
}

function isWithin({ days: begins, from, to }: RunningSpan, local: Intl.DateTimeFormat, wallMs: number): boolean {
  const parts = Object.fromEntries(local.formatToParts(wallMs).map(({ type, value }) => [type, value]));
  const day = days.findIndex((known) => known === parts['weekday']);
  const minutes = Number(parts['hour']) * 60 + Number(parts['minute']);
  if (to > from) return begins.has(day) && minutes >= from && minutes < to;
  const dayBefore = (day + 6) % 7;
  return (begins.has(day) && minutes >= from) || (begins.has(dayBefore) && minutes < to);
}
