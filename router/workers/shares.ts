/**
 * Divides the limits of a router and of apps among its workers, so that all workers together keep them. A limit below the number
 * of workers becomes one for each, because a worker that may do nothing is useless.
 */
import { holdLimitOfRouter, type Route } from '../../shared/protocol/routes.ts';
import type { RouterConfig } from '../config.ts';

export interface Place {
  /** Index of the worker, from 0. */
  readonly index: number;
  readonly workers: number;
}

/** The shares of all workers add up to `total`, unless that is less than one for each. */
export function shareOf(total: number, { index, workers }: Place): number {
  return Math.max(1, Math.floor(total / workers) + (index < total % workers ? 1 : 0));
}

export function configOfWorker<C extends RouterConfig>(config: C, place: Place): C {
  const share = (total: number): number => shareOf(total, place);
  const orNone = (total: number): number => (total === 0 ? 0 : share(total));
  return {
    ...config,
    name: `${config.name}-${place.index + 1}`,
    hold_max_calls: share(config.hold_max_calls),
    max_connections: share(config.max_connections),
    max_connections_per_client: orNone(config.max_connections_per_client),
    max_waiting_streams: orNone(config.max_waiting_streams),
    http2_max_connections: share(config.http2_max_connections),
    http2_max_calls: share(config.http2_max_calls),
    read_ahead_max_bytes: share(config.read_ahead_max_bytes),
    stream_buffers_max_bytes: share(config.stream_buffers_max_bytes),
    max_upstream_sockets: share(config.max_upstream_sockets),
    max_idle_upstream_sockets: orNone(config.max_idle_upstream_sockets),
    tls: { ...config.tls, max_handshakes: share(config.tls.max_handshakes) },
  };
}

/** Divides the limits of a route, which are per router. */
export function routeOfWorker(route: Route, place: Place): Route {
  const { maxConcurrency, maxConcurrencyTotal, holdMaxCalls } = route;
  return {
    ...route,
    holdMaxCalls: holdMaxCalls < holdLimitOfRouter ? shareOf(holdMaxCalls, place) : holdMaxCalls,
    maxConcurrency: maxConcurrency === 0 ? 0 : shareOf(maxConcurrency, place),
    ...(maxConcurrencyTotal === undefined ? undefined : { maxConcurrencyTotal: shareOf(maxConcurrencyTotal, place) }),
  };
}
