/** JSON logs: one line an event, to standard output. */
import { pino, type Logger } from 'pino';

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'child'>;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** @param component goes into every line as `component`. Times are ISO 8601, levels are words, errors are under `err`. */
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

/** For tests and tools that must stay quiet. */
export const silentLog: Log = createLog({ component: 'silent', level: 'silent' });
