/** Decides what happens to an app whose live version has failed to start. */
import type { AppConfig } from '../../../shared/protocol/app-config.ts';
import type { AppRecord } from '../../store/records.ts';

/**
 * promote: the pending version becomes live · revert: the last good version is live again · wait: calls get the failure until someone
 * acts · retry: calls get the failure for a while, then one may start the app again.
 */
export type AfterFailure =
  { readonly kind: 'promote' | 'wait' | 'retry' } | { readonly kind: 'revert'; readonly to: number };

export function afterFailure(record: AppRecord, config: AppConfig): AfterFailure {
  const { live, pending, good } = record;
  if (pending !== null) return { kind: 'promote' };
  if (waitsForSomeone(record, config)) return { kind: 'wait' };
  return good !== null && good !== live ? { kind: 'revert', to: good } : { kind: 'retry' };
}

/** Whether a failed live version is left as it is: a failed update with `on_failed_update = "fail"`, which no clock retries. */
export function waitsForSomeone({ live, good }: AppRecord, config: AppConfig): boolean {
  return good !== null && good !== live && config.on_failed_update === 'fail';
}
