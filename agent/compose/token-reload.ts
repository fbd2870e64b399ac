/** Reads the files of tokens again, so that a token is replaced or withdrawn without a restart; ends links whose token counts no more. */
import { readTextFile } from '../../shared/config/load.ts';
import { parseTokenFile, tokenDigest } from '../../shared/config/sections.ts';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { AgentToken } from '../config/token-section.ts';
import type { RpcToken, Tokens } from '../rpc/tokens.ts';

const everyMs = 5_000;

export function startTokenReload(deps: {
  readonly given: readonly AgentToken[];
  readonly tokens: Pick<Tokens, 'replace'>;
  /** Ends the links of tokens that count no more. */
  readonly endLinks: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly readFile?: (path: string) => string;
}): { close(): Promise<void> } {
  const { given, tokens, endLinks, clock, log, readFile = readTextFile } = deps;
  const closing = new AbortController();
  /** The digests of each file, as it was last in order. */
  const digests = new Map(given.map((one) => [one.name, one.digests]));
  let complaint = '';

  /** @returns whether anything has changed. A file that cannot be read, or is being written, changes nothing. */
  function readAgain(): boolean {
    let changed = false;
    const complaints: string[] = [];
    for (const { name, file } of given) {
      if (file === undefined) continue;
      try {
        const now = parseTokenFile(readFile(file)).map(tokenDigest);
        if (now.join() === digests.get(name)?.join()) continue;
        digests.set(name, now);
        changed = true;
        log.info({ token: undefined, name, values: now.length }, 'the file of a token has changed');
      } catch (error) {
        complaints.push(`${name}: ${toAppError(error).message}`);
      }
    }
    const text = complaints.join('; ');
    if (text !== '' && text !== complaint)
      log.warn({ files: text }, 'files of tokens cannot be used; the tokens of before count');
    complaint = text;
    return changed;
  }

  async function run(): Promise<void> {
    for (;;) {
      await sleep(clock, everyMs, closing.signal);
      if (closing.signal.aborted) return;
      if (readAgain()) {
        tokens.replace(given.map((one): RpcToken => ({ ...one, digests: digests.get(one.name) ?? one.digests })));
      }
      // Tokens expire without a change, too.
      endLinks();
    }
  }

  const running = run();
  return {
    async close() {
      closing.abort();
      await running;
    },
  };
}
