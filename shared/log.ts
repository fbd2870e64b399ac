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
  });
}

/** A log that writes nothing, for tests and tools. */
export const silentLog: Log = createLog({ component: 'silent', level: 'silent' });
