/** What a new leader makes of the builds of the one before: those that go on are joined or cancelled, rows that lie are corrected. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { VersionRun } from '../platform/platform.ts';
import type { BuildRecord, BuildStore } from '../store/build-store.ts';
import { failureOf } from '../store/records.ts';
import type { BuildRecords } from './build-records.ts';
import type { Builder } from './builder.ts';

/** By tag: its row, where there is one. */
export type Adopted = Map<string, BuildRecord | undefined>;

interface AdoptionDeps {
  readonly builder: Pick<Builder, 'underWay' | 'cancel'>;
  readonly store: Pick<BuildStore, 'unfinished'>;
  readonly records: Pick<BuildRecords, 'save'>;
  readonly log: Log;
  /** False: the lead is lost again, nothing may be cancelled. */
  readonly leads: () => boolean;
}

/** Cancels what none of the versions wants. @returns the rest, to be joined when it is asked for. */
export async function adoptBuilds(
  deps: AdoptionDeps,
  runs: readonly VersionRun[],
  signal: AbortSignal,
): Promise<Adopted> {
  const { builder, store, records, log, leads } = deps;
  // Neither is worth an agent that does not lead: builds that are not known of end by their deadline.
  const [tags = [], rows] = await Promise.all([
    orNothing(() => builder.underWay(signal), 'which builds are under way could not be asked', deps, signal),
    orNothing(() => store.unfinished(), 'the rows of builds could not be read', deps, signal),
  ]);
  const byTag = new Map(rows?.map((row) => [row.tag, row]));
  // Without the rows nobody knows what is wanted: then all is.
  const wanted = rows === undefined ? new Set(tags) : wantedTags(runs, rows);
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
      log.info({ tag, app: row?.app, version: row?.version }, 'a build that no version wants any more is cancelled');
      if (row) records.save({ ...row, state: 'cancelled', endedAt: new Date().toISOString() });
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: toAppError(error), tag }, 'a build that nobody wants could not be cancelled');
    }
  }
  if (adopted.size > 0) log.info({ tags: [...adopted.keys()] }, 'builds go on');
  return adopted;
}

function wantedTags(runs: readonly VersionRun[], rows: readonly BuildRecord[]): Set<string> {
  const open = runs.filter(({ spec }) => spec.source !== undefined);
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
  readonly repository: string;
  readonly builder: Pick<Builder, 'underWay'>;
  readonly registry: { exists(image: string, signal: AbortSignal): Promise<string | undefined> };
  readonly store: Pick<BuildStore, 'unfinished'>;
  readonly records: Pick<BuildRecords, 'save'>;
  /** This agent builds it: the row is as it should be. */
  readonly isOurs: (tag: string) => boolean;
  readonly onEnded: (tag: string) => void;
  readonly log: Log;
}

/** Rows of builds that nobody follows: they have ended, well or not, or they go on. @throws AppError, to be tried again. */
export async function correctRows(deps: CorrectionDeps, signal: AbortSignal): Promise<void> {
  const { repository, builder, registry, store, records, isOurs, onEnded, log } = deps;
  const rows = (await store.unfinished()).filter(({ tag }) => !isOurs(tag));
  if (rows.length === 0) return;
  const underWay = new Set(await builder.underWay(signal));
  for (const row of rows) {
    if (underWay.has(row.tag)) continue;
    const imageDigest = await registry.exists(`${repository}:${row.tag}`, signal);
    signal.throwIfAborted();
    if (isOurs(row.tag)) continue; // asked for meanwhile
    onEnded(row.tag);
    const ended = ending(row, imageDigest);
    records.save({ ...row, ...ended, endedAt: new Date().toISOString() });
    log.info(
      { tag: row.tag, app: row.app, version: row.version, state: ended.state },
      'a build of an earlier agent has ended',
    );
  }
}

function ending(
  row: BuildRecord,
  imageDigest: string | undefined,
): Pick<BuildRecord, 'state' | 'imageDigest' | 'failure'> {
  if (imageDigest !== undefined) return { state: 'succeeded', imageDigest, failure: null };
  if (row.state === 'queued') return { state: 'cancelled', imageDigest: null, failure: null };
  const message = 'the agent that followed this build is gone, and so is the build; the next call builds it anew';
  const error = new AppError('builder_unavailable', message, { phase: 'build', data: { logs: row.logs.slice(-50) } });
  return { state: 'failed', imageDigest: null, failure: failureOf(error, 'build') };
}
