/** Checks the listing of a tree before anything of it is written, so that a source that is too large fails early. */
import { overMaxBytes, overMaxFiles, sourceInvalid, type SourceLimits } from '../../shared/source/limits.ts';
import { gitError } from './git-errors.ts';
import type { GitProgram } from './git-program.ts';

/** Far more than any valid path has; git writes no larger chunk. */
const maxEntryBytes = 128 * 1024;

interface Listing {
  readonly program: GitProgram;
  readonly limits: SourceLimits;
  readonly repository: string;
  readonly tree: string;
}

/** @throws AppError source_invalid over a bound; the signal's reason. */
export async function checkListing({ program, limits, repository, tree }: Listing, signal: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const { stdout, ended } = program.start(['-C', repository, 'ls-tree', '-r', '-t', '-l', '-z', tree], {
    signal: AbortSignal.any([signal, enough.signal]),
  });
  let entries = 0;
  let bytes = 0;
  let rest = '';
  try {
    for await (const chunk of stdout.setEncoding('latin1') as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\0');
      rest = lines.pop() ?? '';
      // Bounds an entry whose end never comes.
      if (rest.length > maxEntryBytes) throw sourceInvalid('', `has a path of more than ${maxEntryBytes} bytes`);
      for (const line of lines) {
        // <mode> <type> <object> <size>\t<path>; folders have no size.
        const size = Number(/^\d+ \w+ \w+ +(\d+)\t/.exec(line)?.[1] ?? 0);
        bytes += size;
        entries += 1;
      }
      if (entries > limits.maxFiles) throw overMaxFiles(limits.maxFiles);
      if (bytes > limits.maxBytes) throw overMaxBytes(limits.maxBytes);
    }
    const { code, stderr } = await ended;
    if (code !== 0) throw gitError('read the commit', stderr, []);
  } catch (error) {
    enough.abort(error);
    await ended.catch(() => undefined);
    signal.throwIfAborted();
    throw error;
  }
}
