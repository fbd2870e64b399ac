/** `events.list` and `logs.follow`: what happened to apps, and what they log. */
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function historyHandlers({
  lead,
  events,
  platform,
}: HandlerDeps): Pick<AgentHandlers, 'events.list' | 'logs.follow'> {
  return {
    'events.list': async (query) => ({ events: await events.list(query) }),
    'logs.follow': async ({ app, version, tail, follow }, { emit, signal }) => {
      lead().engine.machine(app);
      for await (const line of platform.logs({ app, version, tail, follow }, signal)) await emit(line);
      return {};
    },
  };
}
