/** Writes JSON logs to standard output, one line per event. */
import { pino, type Logger } from 'pino';

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'child'>;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Times are ISO 8601, levels are words, errors are under `err`. @param options `component` is added to every line. */
export function createLog(options: { readonly component: string; readonly level: LogLevel }): Log {
  return pino({
    level: options.level,
    base: { component: options.component },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['token', 'password', 'authorization', 'secrets', '*.token', '*.password', '*.authorization', '*.secrets'],
      censor: '***',
    },
    serializers: { err: loggedError },
  });
}

interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly [member: string]: unknown;
}

/** The members of errors that are logged beside message and stack. All others may hold data of users, as the fields of Postgres's errors do. */
const loggedMembers = ['code', 'phase', 'sqlstate', 'constraint', 'syscall', 'address', 'port', 'statusCode'] as const;
const maxCauses = 4;

/** Reduces an error to what may be in a log. @returns anything that is not an error as a type alone. */
export function loggedError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: 'something that is not an error was thrown' };
  const members: Record<string, unknown> = {};
  for (const name of loggedMembers) {
    const value = (error as unknown as Record<string, unknown>)[name];
    if (typeof value === 'string' || typeof value === 'number') members[name] = value;
  }
  const { cause } = error;
  return {
    type: error.name,
    message: error.message,
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...members,
    ...(cause instanceof Error && depth < maxCauses ? { cause: loggedError(cause, depth + 1) } : {}),
  };
}

/** A log that writes nothing, for tests and tools. */
export const silentLog: Log = createLog({ component: 'silent', level: 'silent' });
