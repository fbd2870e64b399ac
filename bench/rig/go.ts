/** Programs in Go, where there is Go. */
import { join } from 'node:path';
import type { Bench } from './question.ts';

/**
 * Builds bench/peers/`name`.
 * @param without what is said where it cannot be built.
 * @returns its path; undefined where it cannot be built.
 */
export async function buildGo(
  { processes, folder, signal, say }: Pick<Bench, 'processes' | 'folder' | 'signal' | 'say'>,
  name: string,
  without: string,
): Promise<string | undefined> {
  const program = join(folder, name);
  try {
    const build = { name: 'go build', command: 'go', args: ['build', '-o', program, '.'] };
    await processes.output({ ...build, cwd: `bench/peers/${name}` });
    return program;
  } catch (error) {
    signal.throwIfAborted();
    say(`bench/peers/${name}: ${without}: ${(error as Error).message}`);
    return undefined;
  }
}
