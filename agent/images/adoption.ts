/** How a new leader takes over builds of the previous one: it joins or cancels those that still run, and corrects wrong records. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { BuildRecord, BuildStore } from '../store/build-store.ts';
import { failureOf } from '../store/records.ts';
import type { BuildRecords } from './build-records.ts';
import type { Builder } from './builder.ts';
import type { SourceVersion } from './images.ts';

/** Builds that still run, by tag, with their record if there is one. */
export type Adopted = Map<string, BuildRecord | undefined>;

interface AdoptionDeps {
  readonly builder: Pick<Builder, 'underWay' | 'cancel'>;
  readonly store: Pick<BuildStore, 'unfinished'>;
  readonly records: Pick<BuildRecords, 'save'>;
  readonly log: Log;
  /** Whether this agent still leads; otherwise it must not cancel anything. */
  readonly leads: () => boolean;
}

/** Cancels the builds that none of the versions wants. @returns the others, to be joined when their image is asked for. */
export async function adoptBuilds(
  deps: AdoptionDeps,
  versions: readonly SourceVersion[],
  signal: AbortSignal,
): Promise<Adopted> {
  const { builder, store, records, log, leads } = deps;
  // Neither failure keeps the agent from leading: a build that is not found ends by its deadline.
  const [tags = [], rows] = await Promise.all([
    orNothing(() => builder.underWay(signal), 'could not find out which builds are under way', deps, signal),
    orNothing(() => store.unfinished(), 'could not read the records of builds', deps, signal),
  ]);
  const byTag = new Map(rows?.map((row) => [row.tag, row]));
  // Without the records it is unknown which are wanted, so all are kept.
  const wanted = rows === undefined ? new Set(tags) : wantedTags(versions, rows);
  const adopted: Adopted = new Map();
  for (const tag of tags) {
    const row = byTag.get(tag);
    if (wanted.has(tag)) {
      adopted.set(tag, row);
      continue;
    }
    if (!leads()) break;
    try {
      await builder.cancel(tag);
      log.info({ tag, app: row?.app, version: row?.version }, 'cancelled a build that no version wants any more');
      if (row) records.save({ ...row, state: 'cancelled', endedAt: new Date().toISOString() });
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: toAppError(error), tag }, 'could not cancel a build that no version wants any more');
    }
  }
  if (adopted.size > 0) log.info({ tags: [...adopted.keys()] }, 'builds of the previous leader still run');
  return adopted;
}

function wantedTags(versions: readonly SourceVersion[], rows: readonly BuildRecord[]): Set<string> {
  const open = versions.filter(({ spec }) => spec.source !== undefined);
  const known = open.flatMap(({ pin }) => pin.imageTag ?? []);
  const asked = rows.filter((row) =>
    open.some(({ app, version, pin }) => app === row.app && version === row.version && pin.imageDigest === null),
  );
  return new Set([...known, ...asked.map(({ tag }) => tag)]);
}

async function orNothing<T>(
  read: () => Promise<readonly T[]>,
  what: string,
  { log }: Pick<AdoptionDeps, 'log'>,
  signal: AbortSignal,
): Promise<readonly T[] | undefined> {
  try {
    return await read();
  } catch (error) {
    signal.throwIfAborted();
    log.warn({ err: toAppError(error) }, what);
    return undefined;
  }
}

interface CorrectionDeps {
  readonly builder: Pick<Builder, 'underWay'>;
  readonly store: Pick<BuildStore, 'unfinished'>;
  readonly records: Pick<BuildRecords, 'save'>;
  /** Whether this agent builds the tag, so that its record is right. */
  readonly isOurs: (tag: string) => boolean;
  readonly onEnded: (tag: string) => void;
  readonly log: Log;
}

/** Ends the records of builds that nobody follows and that no longer run. @throws AppError; may be repeated. */
export async function correctRows(deps: CorrectionDeps, signal: AbortSignal): Promise<void> {
  const { builder, store, records, isOurs, onEnded, log } = deps;
  const rows = (await store.unfinished()).filter(({ tag }) => !isOurs(tag));
  if (rows.length === 0) return;
  const underWay = new Set(await builder.underWay(signal));
  signal.throwIfAborted();
  for (const row of rows) {
    // Its image may have been asked for meanwhile.
    if (underWay.has(row.tag) || isOurs(row.tag)) continue;
    onEnded(row.tag);
    const ended = ending(row);
    records.save({ ...row, ...ended, endedAt: new Date().toISOString() });
    log.info(
      { tag: row.tag, app: row.app, version: row.version, state: ended.state },
      'a build of an earlier leader has ended',
    );
  }
}

/** Nobody has heard what the builder said at the end, and an image in the registry may be anybody's. */
function ending(row: BuildRecord): Pick<BuildRecord, 'state' | 'imageDigest' | 'failure'> {
  if (row.state === 'queued') return { state: 'cancelled', imageDigest: null, failure: null };
  const message =
    'the agent that followed this build is gone, and so is the build; the next call builds the image again';
  const error = new AppError('builder_unavailable', message, { phase: 'build', data: { logs: row.logs.slice(-50) } });
  return { state: 'failed', imageDigest: null, failure: failureOf(error, 'build') };
}
