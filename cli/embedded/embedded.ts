/** Runs Holdfast embedded: Postgres, agent and router as child processes, started and stopped in order. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../../shared/config/environment.ts';
import type { AppError } from '../../shared/errors.ts';
import { routerNodeFlags } from '../../shared/node-flags.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { ManagedChild, type ManagedChildOptions } from './managed-child.ts';
import type { EmbeddedPorts, Workspace } from './workspace.ts';

/** The root folder of the package, which contains router/, agent/ and node_modules/. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url));

export interface EmbeddedOptions {
  readonly workspace: Workspace;
  readonly ports: EmbeddedPorts;
  readonly env: Environment;
  readonly onEvent: (message: string) => void;
  /** Called when a process has died too often; the caller should stop the others. */
  readonly onGiveUp: (error: AppError) => void;
}

const readyDeadlineMs = 60_000;
const pollMs = 25;

export function createEmbedded(options: EmbeddedOptions) {
  const { workspace, ports } = options;
  const part = (own: Pick<ManagedChildOptions, 'name' | 'args' | 'ready' | 'stopTimeoutMs'>): ManagedChild =>
    new ManagedChild({
      ...own,
      env: options.env,
      cwd: workspace.root,
      logFile: workspace.path('logs', `${own.name}.log`),
      readyDeadlineMs,
      onEvent: options.onEvent,
      onGiveUp: options.onGiveUp,
    });
  const main = (file: string): string => `${packageRoot}${file}`;
  const postgres = part({
    name: 'postgres',
    args: [main('cli/embedded/postgres.ts'), workspace.path('pg'), workspace.postgresSocket],
    ready: async (child: ChildProcess, signal: AbortSignal) => {
      await once(child, 'message', { signal });
    },
    stopTimeoutMs: 10_000,
  });
  const agent = part({
    name: 'agent',
    args: [main('agent/main.ts'), '--config', workspace.agentConfig],
    ready: (_child, signal) => untilReady(ports.agentAdmin, signal),
    stopTimeoutMs: 20_000,
  });
  const router = part({
    name: 'router',
    args: [...routerNodeFlags, main('router/main.ts'), '--config', workspace.routerConfig],
    ready: (_child, signal) => untilReady(ports.routerAdmin, signal),
    stopTimeoutMs: 10_000,
  });
  return {
    /** Resolves when the router takes calls and the agent has the database. @throws AppError; `stop` then cleans up. */
    async start(signal: AbortSignal): Promise<void> {
      await postgres.start(signal);
      await Promise.all([agent.start(signal), router.start(signal)]);
    },
    /** Stops the router, the agent (which stops the apps) and Postgres, in this order and in bounded time. */
    async stop(): Promise<void> {
      await router.stop();
      await agent.stop();
      await postgres.stop();
    },
    /** Kills all processes at once, without waiting. */
    kill(): void {
      for (const child of [router, agent, postgres]) child.kill();
    },
  };
}

export type Embedded = ReturnType<typeof createEmbedded>;

/** Polls `/readyz` until it answers with success. @throws the reason of the signal. */
async function untilReady(adminPort: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`, { signal });
      await response.body?.cancel();
      if (response.ok) return;
    } catch {
      // The process is not listening yet.
    }
    signal.throwIfAborted();
    await sleep(systemClock, pollMs, signal);
  }
}
