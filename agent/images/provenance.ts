/**
 * Which images were built by this installation. A tag can be guessed and pushed by whoever has a login for the registry, such as a step of
 * another build, so a digest counts only if the builder reported it when the build of the tag ended.
 */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { BuildStore } from '../store/build-store.ts';
import type { BuildRecords } from './build-records.ts';
import type { RegistryGate } from './registry-gate.ts';

export interface Provenance {
  /** Whether a build of the tag made this digest. False too while Postgres is away, as the image can be built again. */
  isOurs(tag: string, digest: string): Promise<boolean>;
}

export function createProvenance(deps: {
  readonly store: Pick<BuildStore, 'digests'>;
  /** Records that are on their way to Postgres. */
  readonly records: Pick<BuildRecords, 'waiting'>;
  readonly gate: Pick<RegistryGate, 'handedOut'>;
  readonly log: Log;
}): Provenance {
  const { store, records, gate, log } = deps;
  return {
    async isOurs(tag, digest) {
      if (gate.handedOut.some((one) => one.tag === tag && one.digest === digest)) return true;
      if (records.waiting.some((one) => one.tag === tag && one.imageDigest === digest)) return true;
      try {
        if ((await store.digests(tag)).has(digest)) return true;
      } catch (error) {
        log.warn({ err: toAppError(error), tag }, 'could not read which images were built; the image is built again');
        return false;
      }
      log.warn(
        { tag, digest },
        'the registry has an image of this tag that no build here reported; the image is built again',
      );
      return false;
    },
  };
}
