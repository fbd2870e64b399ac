/** Tells a plan in a few lines. */
import type { Plan, PlanCommand } from '../plan.ts';

/** Returns one line: `Next.js 15, pnpm 10, Node 22: pnpm install · next build · next start`. */
export function summary(plan: Plan): string {
  const { build } = plan;
  const steps = [...(build?.install ?? []), ...(build?.build ?? [])].filter(({ only }) => only === undefined);
  return `${plan.title.join(', ')}: ${[...steps.map(shown), startText(plan)].join(' · ')}`;
}

/** Returns the summary, the reasons and the notes, one line each. */
export function explained(plan: Plan): string[] {
  return [
    summary(plan),
    ...plan.reasons.map((reason) => `  ${reason}`),
    ...(plan.notes ?? []).map((note) => `Note: ${note}`),
  ];
}

/** What was found, as a list for programs. */
export function foundIn(plan: Plan): string[] {
  return [...plan.title, ...plan.reasons, startText(plan)];
}

function startText({ start }: Plan): string {
  switch (start.kind) {
    case 'command':
      return `starts ${start.title ?? commandText(start.words)}`;
    case 'site':
      return `serves ${start.folders.map((folder) => (folder === '' ? 'the folder' : folder)).join(' or ')}`;
    case 'none':
      return 'starts the command of the app';
  }
}

function shown({ words, title, in: folder = '' }: PlanCommand): string {
  return `${title ?? commandText(words)}${folder === '' ? '' : ` (in ${folder})`}`;
}

/** Leaves out what only matters to machines: a shell around a command, the way to a package manager, quiet flags. */
function commandText(words: readonly string[]): string {
  const [program, flag, script] = words;
  if (program === 'sh' && flag === '-c' && script !== undefined && words.length === 3)
    return script.replace(/^exec /, '');
  if (program === 'npx') {
    const at = words.indexOf('--package');
    return words.slice(at + 2).join(' ');
  }
  return words.filter((word) => word !== '--no-audit' && word !== '--no-fund').join(' ');
}
