/** `holdfast status`: the agent, and the routers connected to it. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { pairs, table } from '../text.ts';

export function statusCommand(context: CliContext): Command {
  return new Command('status')
    .description('show the state of the agent and of its routers')
    .action(async (_options: unknown, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('system.status', {});
      session.show(result, (status) => {
        const facts = pairs([
          ['release', status.release],
          ['platform', status.platform],
          ['leader', `${status.leader} (epoch ${status.epoch})`],
          ['database', status.database],
          ['apps', String(status.apps)],
          ...(typeof status.publicUrl !== 'string' ? [] : [['public url', status.publicUrl] as const]),
          ...(typeof status.defaultDomain !== 'string' ? [] : [['default domain', status.defaultDomain] as const]),
        ]);
        if (status.routers.length === 0) return `${facts}\n\nNo router is connected.`;
        const routers = status.routers.map((router) => [
          router.router,
          `${Math.round(router.connectedSecs)} s`,
          router.ackedSeq >= router.sentSeq ? 'yes' : `${router.sentSeq - router.ackedSeq} behind`,
        ]);
        return `${facts}\n\n${table(['ROUTER', 'CONNECTED', 'UP TO DATE'], routers)}`;
      });
    });
}
