/** Events: who did what. They outlive the app that they are about. */
import { storable } from '../../shared/storable-text.ts';
import type { EventView } from '../../shared/protocol/views.ts';
import type { Database, Queryable } from './database.ts';
import type { NewEvent } from './records.ts';

interface EventRow extends Omit<EventView, 'id' | 'at'> {
  readonly id: string;
  readonly at: Date;
}

export function createEventStore({ db }: { readonly db: Database }) {
  return {
    /** Newest first, optionally those with an id below `before`. */
    async list({
      app,
      before,
      limit,
    }: {
      readonly app?: string | undefined;
      readonly before?: number | undefined;
      readonly limit: number;
    }): Promise<EventView[]> {
      const { rows } = await db.query<EventRow>(
        `select id, at, actor, app, version, kind, message from events
         where ($1::text is null or app = $1) and ($2::bigint is null or id < $2) order by id desc limit $3`,
        [app ?? null, before ?? null, limit],
      );
      return rows.map((row) => ({ ...row, id: Number(row.id), at: row.at.toISOString() }));
    },
  };
}

export type EventStore = ReturnType<typeof createEventStore>;

export async function insertEvents(tx: Queryable, events: readonly NewEvent[]): Promise<void> {
  for (const event of events) {
    await tx.query('insert into events (actor, app, version, kind, message) values ($1, $2, $3, $4, $5)', [
      event.actor,
      event.app,
      event.version,
      event.kind,
      storable(event.message.slice(0, 4_096)),
    ]);
  }
}
