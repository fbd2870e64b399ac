/** The worker's side of the messages from the primary. */
import type { Registry } from '@prometheus-io/client';
import type { Router } from '../router.ts';
import type { FromWorker, ToWorker } from './messages.ts';

/** The channel to the primary: a part of `process`. */
export interface Channel {
  send?: ((message: FromWorker, ...rest: never[]) => boolean) | undefined;
  on(event: 'message', listener: (message: unknown) => void): unknown;
}

/** Answers the primary until the process ends. */
export function servePrimary(
  channel: Channel,
  router: Pick<Router, 'port' | 'tlsPort' | 'ready' | 'viewTargets'>,
  registry: Pick<Registry, 'getMetricsAsJSON'>,
): void {
  const say = (message: FromWorker): void => void channel.send?.(message);
  channel.on('message', (data) => {
    const message = data as ToWorker;
    if (message.kind !== 'ask') return;
    const { id, subject, query } = message;
    switch (subject) {
      case 'ready':
        say({ kind: 'answer', id, value: router.ready() });
        return;
      case 'targets':
        say({ kind: 'answer', id, value: viewTargets(router, query) });
        return;
      case 'metrics':
        // Without an answer, the primary leaves the worker out.
        registry.getMetricsAsJSON().then(
          (value) => say({ kind: 'answer', id, value }),
          () => undefined,
        );
    }
  });
  say({ kind: 'listening', port: router.port, tlsPort: router.tlsPort });
}

function viewTargets(router: Pick<Router, 'viewTargets'>, query: string): unknown {
  try {
    return router.viewTargets(new URLSearchParams(query));
  } catch (error) {
    return { error: (error as Error).message };
  }
}
