/** `sources.*` and `apps.sync`: uploads, and git sources looked at now. */
import { AppError } from '../../shared/errors.ts';
import type { AgentHandlers } from './handlers.ts';

export function sourceHandlers(): Pick<AgentHandlers, 'sources.begin' | 'sources.complete' | 'apps.sync'> {
  const notYet = (): Promise<never> => Promise.reject(new AppError('internal', 'not built yet'));
  return { 'sources.begin': notYet, 'sources.complete': notYet, 'apps.sync': notYet };
}
