/** What a Kubernetes platform needs where a test builds nothing. */
import { createNoImages } from '../../agent/images/images.ts';
import { AppError } from '../../shared/errors.ts';

export const noBuilds = {
  sources: { resolve: () => Promise.reject(new AppError('source_unsupported', 'nothing is built in this test')) },
  images: createNoImages(),
} as const;
