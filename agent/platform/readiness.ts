/** When an app is ready: what its probes ask, and how to say what they saw instead. */
import type { Probe, ProbeOutcome } from '../../shared/net/http-probe.ts';
import { parseRoute, type AppSpec } from '../../shared/protocol/app-spec.ts';

/** What a probe asks of an app, whatever its address. */
export type ReadinessProbe = Pick<Probe, 'wants' | 'path' | 'authority' | 'protocol'>;

/** With `health_url`, 2xx or 3xx there; without it, any answer by the app's protocol. */
export function readinessOf(spec: Pick<AppSpec, 'name' | 'path' | 'health_url' | 'protocol'>): ReadinessProbe {
  return {
    wants: spec.health_url === undefined ? 'answer' : 'success',
    path: spec.health_url,
    authority: hostOf(spec),
    protocol: spec.protocol,
  };
}

/** The host by which callers know the app, since an app may refuse any other; undefined if its route matches any host. */
function hostOf({ name, path }: Pick<AppSpec, 'name' | 'path'>): string | undefined {
  const host = parseRoute(path)?.host ?? '';
  if (host === '') return undefined;
  return host.startsWith('*.') ? `${name}${host.slice(1)}` : host;
}

/** Why an app is not ready, as a clause: `nothing listens on port 8080`. @param port as the app knows it: `port 8080`, `PORT (20001)`. */
export function wordsOfOutcome(outcome: ProbeOutcome, port: string, probe: ReadinessProbe): string {
  const path = probe.path ?? '/';
  switch (outcome.kind) {
    case 'ready':
      return `it answered on ${port} a moment ago`;
    case 'status':
      return `it answers ${outcome.status} at ${path}, not 2xx or 3xx`;
    case 'refused':
      return `nothing listens on ${port}`;
    case 'closed':
      return `it closes connections to ${port} without an answer`;
    case 'silent':
      return `it accepts connections on ${port} but does not answer GET ${path}${probe.wants === 'answer' ? '; if other paths answer, name one as `health_url`' : ''}`;
    case 'foreign':
      return `what it says on ${port} is not ${probe.protocol === 'h2c' ? 'HTTP/2' : 'HTTP'}${foreignHint(outcome.speaks, probe)}`;
    default:
      return outcome satisfies never;
  }
}

function foreignHint(speaks: 'HTTP/1' | 'HTTP/2' | 'TLS' | undefined, { protocol }: ReadinessProbe): string {
  if (speaks === 'TLS') return ' but TLS: apps are called by plain HTTP, the router ends TLS';
  if (speaks === 'HTTP/2' && protocol !== 'h2c') return ' but HTTP/2: set `protocol = "h2c"`';
  if (speaks === 'HTTP/1' && protocol === 'h2c') return ' but HTTP/1.1: leave `protocol = "h2c"` out';
  return '';
}
