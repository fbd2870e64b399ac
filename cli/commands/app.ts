/** `holdfast app NAME`: one app, as it is. */
import { Command } from 'commander';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { AppView } from '../../shared/protocol/views.ts';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { failureText, pairs, problemText } from '../text.ts';

export function appCommand(context: CliContext): Command {
  return new Command('app')
    .description('show one app')
    .argument('<name>', 'name of the app')
    .action(async (name: string, _options: unknown, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('apps.get', { app: name });
      session.show(result, appText);
    });
}

function appText(app: AppView): string {
  const facts: (readonly [string, string])[] = [
    ['name', app.name],
    ['path', app.path],
    ...(typeof app.url !== 'string' ? [] : [['url', app.url] as const]),
    ['state', app.state],
    ['live version', String(app.liveVersion)],
    ['pending version', app.pendingVersion === null ? 'none' : String(app.pendingVersion)],
    ['targets', String(app.targets)],
    ...(app.keptAwake === null ? [] : [['kept awake by', app.keptAwake] as const]),
    ...specFacts(app.spec),
    ['created', app.createdAt],
    ['updated', app.updatedAt],
  ];
  if (app.failure === null) return pairs(facts);
  return `${pairs([...facts, ['problem', `${problemText(app)}, ${app.failure.at}`]])}\n${failureText(app.failure)}`;
}

/** What is left to its default is left out, but for the port. */
function specFacts(spec: AppSpec): (readonly [string, string])[] {
  const { min_replicas: min, max_replicas: max } = spec;
  const replicas = min === 0 && max === undefined ? '' : `${min} to ${max ?? Math.max(1, min)}`;
  const optional: (readonly [string, string])[] = [
    ['health_url', spec.health_url ?? ''],
    ['command', spec.command === undefined ? '' : JSON.stringify(spec.command)],
    ['cpus', spec.cpus ?? ''],
    ['memory', spec.memory ?? ''],
    ['replicas', replicas],
    ['volumes', spec.volumes.map(({ name, path, size }) => [name, 'at', path, size ?? ''].join(' ').trim()).join(', ')],
    ['config', configFacts(spec.config).join(', ')],
  ];
  return [
    spec.image === undefined ? ['source', spec.source ?? ''] : ['image', spec.image],
    ['port', String(spec.port)],
    ...optional.filter(([, value]) => value !== ''),
    ['environment', Object.keys(spec.env).join(', ') || 'none'],
    ['secrets', Object.keys(spec.secrets).join(', ') || 'none'],
  ];
}

/** `hold.timeout_secs = 60`, as an app file has it. */
function configFacts(table: object, prefix = ''): string[] {
  return Object.entries(table).flatMap(([key, value]: [string, unknown]) => {
    if (typeof value === 'object' && value !== null) return configFacts(value, `${prefix}${key}.`);
    return value === undefined ? [] : [`${prefix}${key} = ${JSON.stringify(value)}`];
  });
}
