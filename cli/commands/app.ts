/** `holdfast app NAME`: one app, as it is. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { failureText, pairs } from '../text.ts';

export function appCommand(context: CliContext): Command {
  return new Command('app')
    .description('show one app')
    .argument('<name>', 'name of the app')
    .action(async (name: string, _options: unknown, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('apps.get', { app: name });
      session.show(result, (app) => {
        const { spec } = app;
        const facts = pairs([
          ['name', app.name],
          ['path', app.path],
          ['state', app.state],
          ['live version', String(app.liveVersion)],
          ['pending version', app.pendingVersion === null ? 'none' : String(app.pendingVersion)],
          ['targets', String(app.targets)],
          spec.image === undefined ? ['source', spec.source ?? ''] : ['image', spec.image],
          ['port', String(spec.port)],
          ['environment', Object.keys(spec.env).join(', ') || 'none'],
          ['secrets', Object.keys(spec.secrets).join(', ') || 'none'],
          ['created', app.createdAt],
          ['updated', app.updatedAt],
        ]);
        return app.failure === null ? facts : `${facts}\n${failureText(app.failure)}`;
      });
    });
}
