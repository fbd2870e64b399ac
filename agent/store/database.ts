/**
 * The connection pool to Postgres. Every failure of a connection becomes one error, `store_unavailable`; every other one a `StatementError`,
 * because what the driver throws quotes values of the statement, among them secrets.
 */
import { Pool, type PoolClient, type QueryResultRow } from 'pg';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';

export interface Rows<R> {
  readonly rows: R[];
  readonly rowCount: number | null;
}

/** The part of a connection that the stores need. */
export interface Queryable {
  query<R>(text: string, values?: readonly unknown[]): Promise<Rows<R>>;
}

export interface Database extends Queryable {
  /** Runs `work` in one transaction, which is rolled back if it throws. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** What is looked at of an error of the driver. */
interface DriverError {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly constraint?: unknown;
  readonly table?: unknown;
}

/** SQLSTATE classes whose messages name roles, databases, tables and columns, never values: 28 authorization, 3D database, 42 access. */
const namingClasses = new Set(['28', '3D', '42']);

/** A statement that Postgres refused. It says which rule was broken, and nothing of the values. */
export class StatementError extends Error {
  override readonly name = 'StatementError';
  readonly sqlstate: string;
  readonly constraint: string | undefined;

  constructor(sqlstate: string, broken: DriverError) {
    const constraint = named(broken.constraint);
    const table = named(broken.table);
    const where = [
      namingClasses.has(sqlstate.slice(0, 2)) ? named(broken.message) : undefined,
      constraint && `constraint ${constraint}`,
      table && `table ${table}`,
    ].filter(Boolean);
    super(`Postgres refused a statement with SQLSTATE ${sqlstate}${where.length === 0 ? '' : `: ${where.join(', ')}`}`);
    this.sqlstate = sqlstate;
    this.constraint = constraint;
  }
}

function named(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** SQLSTATE classes that mean that the server cannot be reached or used, and not that the statement is wrong. */
const unavailableClasses = new Set(['08', '53', '57', '58']);

interface DatabaseOptions {
  readonly connectionString: string;
  readonly maxConnections: number;
  readonly log: Log;
  /** Timeout of connecting, and of a statement, milliseconds. */
  readonly timeoutMs?: number;
}

/** Connects lazily. @throws AppError config_invalid when the connection string is not a URL of Postgres. */
export function openDatabase({ connectionString, maxConnections, log, timeoutMs = 5_000 }: DatabaseOptions): Database {
  if (!/^postgres(ql)?:\/\//.test(connectionString)) {
    throw new AppError('config_invalid', 'metadata.db_connection must be a URL that begins with postgres://');
  }
  const pool = new Pool({
    connectionString: asPsqlReadsIt(connectionString),
    max: maxConnections,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: 'holdfast',
  });
  // An idle connection that breaks is replaced at the next use. Without a listener, the error would end the process.
  pool.on('error', (err) => log.warn({ err }, 'an idle connection to Postgres broke'));

  async function connect(): Promise<PoolClient> {
    try {
      return await pool.connect();
    } catch (error) {
      throw unavailable(error);
    }
  }

  return {
    async query<R>(text: string, values: readonly unknown[] = []) {
      try {
        return await pool.query<R & QueryResultRow>(text, [...values]);
      } catch (error) {
        throw mapError(error);
      }
    },
    async transaction(work) {
      const client = await connect();
      let broken: Error | undefined;
      // The pool listens only to idle connections; an error between two statements would end the process.
      const onBreak = (error: Error): void => {
        broken = error;
      };
      client.on('error', onBreak);
      try {
        await client.query('begin');
        const result = await work({
          async query<R>(text: string, values: readonly unknown[] = []) {
            return await client.query<R & QueryResultRow>(text, [...values]);
          },
        });
        await client.query('commit');
        return result;
      } catch (error) {
        await client.query('rollback').catch((rollbackError: unknown) => {
          broken = rollbackError instanceof Error ? rollbackError : new Error(String(rollbackError));
        });
        throw mapError(error);
      } finally {
        client.off('error', onBreak);
        // A connection that could not even roll back must not serve the next caller.
        client.release(broken);
      }
    },
    async close() {
      await pool.end();
    },
  };
}

/**
 * The driver takes `require` and `prefer` for `verify-full`; psql encrypts without a look at the certificate, unless `sslrootcert` names
 * an authority. https://www.postgresql.org/docs/current/libpq-ssl.html
 */
function asPsqlReadsIt(connectionString: string): string {
  const query = connectionString.split('?', 2)[1] ?? '';
  const parameters = new URLSearchParams(query);
  const mode = parameters.get('sslmode');
  if ((mode !== 'require' && mode !== 'prefer') || parameters.has('uselibpqcompat')) return connectionString;
  return `${connectionString}&uselibpqcompat=true`;
}

function mapError(error: unknown): unknown {
  if (error instanceof AppError) return error;
  const failure = error as DriverError;
  const { code } = failure;
  // Without a SQLSTATE it is an error of the socket or a timeout of the driver.
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code) || unavailableClasses.has(code.slice(0, 2))) {
    return unavailable(error);
  }
  return new StatementError(code, failure);
}

function unavailable(error: unknown): AppError {
  const reason = error instanceof Error ? error.message || error.name : String(error);
  return new AppError('store_unavailable', `Postgres cannot be reached: ${reason}`, { cause: error });
}
