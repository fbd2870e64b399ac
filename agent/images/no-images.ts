/** Images where nothing is built: the process platform, and `[builder] mode = "none"`. */
import { AppError } from '../../shared/errors.ts';
import type { Images } from './images.ts';

/** @param repository where images were built before: versions that have one still run it. */
export function createNoImages(repository = ''): Images {
  return {
    repository,
    running: 0,
    queued: 0,
    ensure: () =>
      Promise.reject(
        new AppError(
          'builder_unavailable',
          'no builder is configured here: set [builder] mode, or give the app an `image`',
          {
            phase: 'build',
          },
        ),
      ),
    adopt: () => Promise.resolve(),
    letGo() {},
    builds: () => Promise.resolve([]),
    logs: ({ app }) =>
      Promise.reject(new AppError('build_not_found', `no image was built for ${app}: nothing is built here`)),
    list: () => Promise.resolve([]),
    prune: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
}
