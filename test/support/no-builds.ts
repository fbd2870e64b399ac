/** Sources and images for a Kubernetes platform in tests that build nothing. */
import { createNoImages } from '../../agent/images/images.ts';
import { AppError } from '../../shared/errors.ts';

export const noBuilds = {
  sources: { resolve: () => Promise.reject(new AppError('source_unsupported', 'nothing is built in this test')) },
  images: createNoImages(),
} as const;
