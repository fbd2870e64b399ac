/** Builds the images part from `[builder]` and `[registry]` of the configuration: with Kaniko, a builder elsewhere, or none. */
import type { Clock } from '../../shared/wait/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { AgentConfig } from '../config/config.ts';
import type { KubeApi } from '../kube/api.ts';
import { readPem, type ConnectedRegistry } from './registry.ts';
import type { HttpEndpoint } from '../rpc/endpoint.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildStore } from '../store/build-store.ts';
import type { Builder } from '../images/builder.ts';
import { contextStream } from '../images/build-context.ts';
import { createImages } from '../images/create-images.ts';
import { createDelegateBuilder } from '../images/delegate/delegate-builder.ts';
import type { EndState } from '../images/build-journal.ts';
import { createNoImages, type Images } from '../images/images.ts';
import { createKanikoBuilder } from '../images/kaniko/create-kaniko-builder.ts';

interface ConnectImagesDeps {
  readonly config: Pick<AgentConfig, 'builder' | 'kubernetes' | 'registry' | 'source'>;
  /** For builds alone, so that their watches and those of apps do not wait for each other. */
  readonly api: KubeApi;
  readonly connected: Pick<ConnectedRegistry, 'own' | 'registry' | 'credentials'>;
  readonly sources: Pick<Sources, 'resolve' | 'tree'>;
  readonly store: BuildStore;
  readonly onEnded: (state: EndState, seconds: number | undefined) => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ConnectedImages {
  readonly images: Images;
  /** Served to build pods on the agent's own port. */
  readonly endpoints: readonly HttpEndpoint[];
}

const delegatePrefix = 'delegate:';

/** @throws AppError config_invalid. */
export async function connectImages(deps: ConnectImagesDeps): Promise<ConnectedImages> {
  const { config, connected, sources, store, onEnded, clock, log } = deps;
  const { mode, max_concurrent_builds, max_queued_builds, retry_secs, args } = config.builder;
  const { url: host = '', project, keep_versions: keepVersions } = config.registry;
  const repository = `${host}/${project}/app`;
  // Versions go on running images that were built before.
  if (mode === 'none') return { images: createNoImages(repository), endpoints: [] };
  const { builder, endpoints } = await openBuilder(mode, deps);
  const images = createImages({
    repository,
    registry: connected.registry,
    sources,
    builder,
    store,
    limits: {
      maxRunning: max_concurrent_builds,
      maxQueued: max_queued_builds,
      retryMs: retry_secs * 1_000,
      keepVersions,
    },
    args,
    onEnded,
    clock,
    log,
  });
  return { images, endpoints };
}

async function openBuilder(
  mode: string,
  { config, api, connected, clock, log }: ConnectImagesDeps,
): Promise<{ readonly builder: Builder; readonly endpoints: readonly HttpEndpoint[] }> {
  if (mode.startsWith(delegatePrefix)) {
    const { builder_auth_token: token, ca_file: path, timeout_secs } = config.builder;
    const builder = createDelegateBuilder({
      url: mode.slice(delegatePrefix.length),
      token,
      ca: await readPem('builder.ca_file', path),
      pack: (context) => contextStream(context, config.source),
      timeoutMs: timeout_secs * 1_000,
      log,
      clock,
    });
    return { builder, endpoints: [] };
  }
  const { own, credentials } = connected;
  const builder = createKanikoBuilder({ api, config, own, credentials, log, clock });
  return { builder, endpoints: [builder.endpoint] };
}
