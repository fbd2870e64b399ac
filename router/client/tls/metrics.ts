/** Metrics of TLS; they exist only if the router speaks it. Labels are bounded: results, and `maxCertificates`. */
import { Counter, Gauge, type Registry } from '@prometheus-io/client';
import type { Certificates } from './certificates.ts';
import type { HandshakeResult } from './handshake.ts';

export interface TlsMetricsDeps {
  readonly registry: Registry;
  readonly handshakes: () => number;
  readonly certificates: () => Pick<Certificates, 'inUse' | 'broken'> | undefined;
}

/** The ones that expire first have a series each. */
const maxCertificates = 100;

export function createTlsMetrics({ registry, handshakes, certificates }: TlsMetricsDeps) {
  const registers = [registry];
  const results = new Counter({
    name: 'holdfast_router_tls_handshakes_total',
    help: 'Handshakes ended, by result: ok, failed, timeout, left (by the client), crowded (it made room for a newer one).',
    labelNames: ['result'],
    registers,
  });
  const failures = new Counter({
    name: 'holdfast_router_tls_certificate_failures_total',
    help: 'Files of certificates that could not be used; what was there before stays in use.',
    registers,
  });
  const underWay: Gauge = new Gauge({
    name: 'holdfast_router_tls_handshakes',
    help: 'Handshakes under way.',
    registers,
    collect: () => underWay.set(handshakes()),
  });
  const broken: Gauge = new Gauge({
    name: 'holdfast_router_tls_certificates_broken',
    help: 'Certificates whose files cannot be used as they are now.',
    registers,
    aggregator: 'max',
    collect: () => broken.set(certificates()?.broken ?? 0),
  });
  const expiry: Gauge<'certificate'> = new Gauge({
    name: 'holdfast_router_tls_certificate_expiration_timestamp_seconds',
    help: `When a certificate expires, Unix time; of more than ${maxCertificates} those that expire first.`,
    labelNames: ['certificate'],
    registers,
    aggregator: 'min',
    collect() {
      expiry.reset();
      const soonest = [...(certificates()?.inUse ?? [])].sort((a, b) => a.expiresMs - b.expiresMs);
      for (const { label, expiresMs } of soonest.slice(0, maxCertificates)) {
        expiry.set({ certificate: label }, expiresMs / 1_000);
      }
    },
  });
  return {
    handshake: (result: HandshakeResult) => results.inc({ result }),
    certificateFailed: () => failures.inc(),
  };
}
