/** `holdfast images [NAME]`: images that were built; `--prune` deletes unused ones. */
import { Command } from 'commander';
import type { ImageView } from '../../shared/protocol/views.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { listLimit } from '../../shared/command/option-values.ts';
import { openSession } from '../session.ts';
import { shortTag, table } from '../text.ts';

interface ImagesOptions {
  readonly prune: boolean;
  readonly keep?: number;
  readonly dryRun: boolean;
}

/** The registry is asked for each image. */
const deadlineMs = 10 * 60_000;

export function imagesCommand(context: CliContext): Command {
  return new Command('images')
    .description('list the built images in the registry, or delete unused ones')
    .argument('[name]', 'name of the app (default: all apps)')
    .option('--prune', 'delete images of old versions; images in use are kept', false)
    .option(
      '--keep <n>',
      'with --prune: number of newest versions of each app to keep (default: registry.keep_versions)',
      listLimit,
    )
    .option('--dry-run', 'with --prune: show what would be deleted without deleting anything', false)
    .action(async (name: string | undefined, options: ImagesOptions, command: Command) => {
      const { prune, keep, dryRun } = options;
      if (!prune && (keep !== undefined || dryRun)) throw new UsageError('--keep and --dry-run need --prune');
      if (prune && name !== undefined) throw new UsageError('--prune applies to all apps: leave out the name');
      const session = openSession(context, command);
      if (!prune) {
        const result = await session.call('images.list', { app: name }, { deadlineMs });
        if (name !== undefined && result.images.length === 0) await session.call('apps.get', { app: name });
        session.show(result, ({ images }) => imageTable(images));
        return;
      }
      const result = await session.call('images.prune', { dryRun, keep }, { deadlineMs });
      session.show(result, ({ pruned }) => {
        const count = pruned.length === 1 ? 'one image' : `${pruned.length} images`;
        const said = dryRun ? `would delete ${count}` : `deleted ${count}`;
        return pruned.length === 0 ? 'nothing to delete' : `${imageTable(pruned)}\n\n${said}`;
      });
    });
}

const shownVersions = 5;

function imageTable(images: readonly ImageView[]): string {
  const rows = images.map(({ tag, digest, builtAt, versions, inUse }) => [
    shortTag(tag),
    (digest ?? '').replace(/^sha256:/, '').slice(0, 12),
    inUse ? 'yes' : 'no',
    builtAt ?? '',
    versionsText(versions),
  ]);
  return table(['IMAGE', 'DIGEST', 'IN USE', 'BUILT', 'VERSIONS'], rows);
}

function versionsText(versions: ImageView['versions']): string {
  const shown = versions.slice(0, shownVersions).map(({ app, version }) => `${app} v${version}`);
  const more = versions.length - shown.length;
  return [...shown, ...(more > 0 ? [`${more} more`] : [])].join(', ');
}
