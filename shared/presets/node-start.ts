/** From a start script to the words that are run, so that no shell and no package manager stands between SIGTERM and the app. */
export type Scripts = Readonly<Record<string, string>>;

/** Words without anything that a shell would treat in its own way. */
const plainCommand = /^[\w@%+:,./-]+( +[\w@%+:,./=-]+)*$/;
const assignment = /^[A-Za-z_]\w*=[\w@%+:,./-]*$/;
/** A script that only runs another one: through npm it would have a process in front that does not hand signals on. */
const nested = /^(?:npm run|npm run-script|pnpm run|pnpm|yarn run|yarn) ([\w:.-]+)$/;
const shellWords = new Set(['cd', 'export', 'set', 'unset', 'exec', 'eval', 'test', 'true', 'false', 'source', 'if', 'for', 'while', 'trap', 'ulimit', 'umask', 'wait', '.', ':']); // prettier-ignore
const maxDepth = 8;

/** @param name of a script that is there. */
export function startWords(scripts: Scripts, name: string): readonly string[] {
  const script = unnested(scripts, (scripts[name] ?? '').trim());
  const words = plainWords(script);
  if (words !== undefined) return words;
  // Of `a && b` the shell becomes b.
  const last = script.lastIndexOf('&&');
  const rest = script.slice(last + 2).trim();
  const isSequence = last > 0 && !/[|;&\n"'`$()<>\\#]/.test(script.replaceAll('&&', ''));
  const final = isSequence ? plainWords(unnested(scripts, rest)) : undefined;
  if (final !== undefined) return ['sh', '-c', `${script.slice(0, last).trim()} && exec ${final.join(' ')}`];
  return ['sh', '-c', script];
}

function plainWords(script: string): readonly string[] | undefined {
  const words = script.split(/ +/);
  const at = words.findIndex((word) => !assignment.test(word));
  const command = words.slice(at);
  if (at < 0 || shellWords.has(command[0] ?? '') || !plainCommand.test(command.join(' '))) return undefined;
  return at === 0 ? command : ['env', ...words];
}

function unnested(scripts: Scripts, script: string): string {
  let current = script;
  for (let depth = 0; depth < maxDepth; depth += 1) {
    const inner = scripts[nested.exec(current)?.[1] ?? ''];
    if (inner === undefined) break;
    current = inner.trim();
  }
  return current;
}
