/** Programs that the process platform needs of its machine. An image has them. */
import type { PlanCommand } from './plan.ts';

/**
 * Ends an installation at once if a program is missing, and says which.
 * @param check a text for a shell that succeeds if the version fits. No text of the tree may be in it.
 */
export function needsTool(program: string, what: string, check?: string): PlanCommand {
  const fits = `command -v ${program} >/dev/null${check === undefined ? '' : ` && ${check}`}`;
  const plain = what.replaceAll(/[^\w .,:;()/<>=~^+-]/g, '?');
  const message = `this app needs ${plain}, which is not installed on this machine: install it, or run the app as an image`;
  return {
    words: ['sh', '-c', `${fits} || { echo "${message}" >&2; exit 1; }`],
    title: `look for ${program}`,
    only: 'process',
  };
}
