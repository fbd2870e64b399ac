/** Opens what the router needs to speak TLS: its certificates, and the metrics of certificates and handshakes. */
import type { Registry } from '@prometheus-io/client';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import { Certificates } from './certificates.ts';
import { listedPairs, type TlsConfig } from './config.ts';
import type { HandshakeResult } from './handshake.ts';
import { createTlsMetrics } from './metrics.ts';

export type OpenTls = Awaited<ReturnType<typeof openTls>>;

/** @throws AppError config_invalid when no certificate can be used. */
export async function openTls(deps: {
  readonly config: TlsConfig;
  readonly registry: Registry;
  readonly handshakes: () => number;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { config, registry, handshakes, clock, log } = deps;
  let loaded: Certificates | undefined;
  const metrics = createTlsMetrics({ registry, handshakes, certificates: () => loaded });
  const certificates = await Certificates.load({
    pairs: listedPairs(config),
    folder: config.cert_folder,
    minVersion: config.min_version,
    reloadMs: config.reload_secs * 1_000,
    clock,
    log,
    onReloadFailed: () => metrics.certificateFailed(),
  });
  loaded = certificates;
  return { config, certificates, onHandshake: (result: HandshakeResult) => metrics.handshake(result) };
}
