/** Looks up what the images and sources of apps are now, when they are declared. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import { deadlineSignal } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { type FoundPin, noPin, type Platform } from '../platform/platform.ts';

interface PinDeps {
  readonly platform: Pick<Platform, 'pin'>;
  readonly clock: Clock;
}

const timeoutMs = 10_000;

/**
 * @returns pins by app name. A registry that is away, or has no such image, gives an empty pin: the version that fails will report it.
 * @throws AppError source_*, naming the app; the signal's reason.
 */
export async function pinSpecs(
  { platform, clock }: PinDeps,
  specs: readonly AppSpec[],
  signal: AbortSignal,
): Promise<Map<string, FoundPin>> {
  const message = `its source was not looked up within ${timeoutMs / 1_000} s: the server does not answer`;
  const reason = (): AppError => new AppError('source_unavailable', message, { phase: 'source' });
  using deadline = deadlineSignal({ clock, ms: timeoutMs, signal, reason });
  const pinOf = async (spec: AppSpec): Promise<FoundPin> => {
    try {
      return await platform.pin(spec, deadline.signal);
    } catch (thrown) {
      const error = toAppError(deadline.expired ? deadline.signal.reason : thrown);
      if (spec.image !== undefined && error.code !== 'source_unsupported') return noPin;
      throw error.with({ message: `app ${spec.name}: ${error.message}`, data: { ...error.data, app: spec.name } });
    }
  };
  return new Map(await Promise.all(specs.map(async (spec) => [spec.name, await pinOf(spec)] as const)));
}
