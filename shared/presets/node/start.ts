/** Turns a start script into words to run, so that no shell or package manager stands between SIGTERM and the app. */
export type Scripts = Readonly<Record<string, string>>;

/** A command without any character that is special to a shell. */
const plainCommand = /^[\w@%+:,./-]+( +[\w@%+:,./=-]+)*$/;
const assignment = /^[A-Za-z_]\w*=[\w@%+:,./-]*$/;
/** A script that only runs another one. Running it through npm would add a process that does not forward signals. */
const nested =
  /^(?:npm run|npm run-script|npm|pnpm run|pnpm|yarn run|yarn|bun run|node --run) (?:-s |--silent )?([\w:.-]+)$/;
const shellWords = new Set(['cd', 'export', 'set', 'unset', 'exec', 'eval', 'test', 'true', 'false', 'source', 'if', 'for', 'while', 'trap', 'ulimit', 'umask', 'wait', '.', ':']); // prettier-ignore
const maxDepth = 8;

/** @param name of an existing script. */
export function startWords(scripts: Scripts, name: string): readonly string[] {
  const script = unnested(scripts, (scripts[name] ?? '').trim());
  const words = plainWords(script);
  if (words !== undefined) return words;
  // In `a && b`, b replaces the shell.
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

/** Follows scripts that only run another one. */
export function unnested(scripts: Scripts, script: string): string {
  let current = script;
  for (let depth = 0; depth < maxDepth; depth += 1) {
    const inner = scripts[nested.exec(current)?.[1] ?? ''];
    if (inner === undefined) break;
    current = inner.trim();
  }
  return current;
}
