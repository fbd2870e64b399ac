/** The stores of the agent, all on one pool of connections to Postgres. */
import type { Log } from '../../shared/log.ts';
import type { AgentConfig } from '../config/config.ts';
import { createAppStore, type AppStore } from '../store/app-store.ts';
import { createAuditStore, type AuditStore } from '../store/audit-store.ts';
import { createBuildStore, type BuildStore } from '../store/build-store.ts';
import { openDatabase } from '../store/database.ts';
import { createEventStore, type EventStore } from '../store/event-store.ts';
import { migrate } from '../store/migrate.ts';
import { createUploadStore, type UploadStore } from '../store/upload-store.ts';

export interface Stores {
  readonly apps: AppStore;
  readonly events: EventStore;
  readonly builds: BuildStore;
  readonly uploads: UploadStore;
  readonly audit: AuditStore;
  /** Brings the schema up to date. @throws AppError store_unavailable; config_invalid when a newer release has changed the schema. */
  migrate(): Promise<void>;
  close(): Promise<void>;
}

/** Connects lazily. @throws AppError config_invalid when the connection string cannot be read. */
export function openStores({ config, log }: { readonly config: AgentConfig; readonly log: Log }): Stores {
  const db = openDatabase({ connectionString: config.metadata.db_connection, maxConnections: 4, log });
  return {
    apps: createAppStore({ db }),
    events: createEventStore({ db }),
    audit: createAuditStore({ db }),
    builds: createBuildStore({ db }),
    uploads: createUploadStore({ db, keepVersions: config.registry.keep_versions }),
    migrate: async () => void (await migrate(db)),
    close: () => db.close(),
  };
}
