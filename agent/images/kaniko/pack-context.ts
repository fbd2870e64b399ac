/** The context of a build as tar.gz: the tree as it is, and the files of a preset. What .dockerignore says is the executor's to do. */
import type { Readable } from 'node:stream';
import type { AgentConfig } from '../../config/config.ts';
import { defaultSourceLimits } from '../../../shared/source/limits.ts';
import { packTree } from '../../../shared/source/pack.ts';
import { walkTree } from '../../../shared/source/tree-walk.ts';
import type { BuildContext } from '../context-endpoint.ts';

export async function packContext(
  { folder, extraFiles }: BuildContext,
  source: Pick<AgentConfig['source'], 'max_files'>,
  signal: AbortSignal,
): Promise<Readable> {
  const limits = { ...defaultSourceLimits, maxFiles: source.max_files };
  const listing = await walkTree({ root: folder, limits, signal });
  return packTree({ root: folder, listing, extraFiles, signal });
}
