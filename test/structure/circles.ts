/**
 * Circles of imports, by Tarjan's algorithm for strongly connected components.
 *
 * @param imports each file and the files it imports; imported files that are not keys are ignored.
 * @returns groups of files that all reach each other by imports. Groups and their files are sorted.
 */
export function circles(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const order = new Map<string, number>();
  const stack: string[] = [];

  /** @returns the lowest order of a file on the stack that `file` reaches. */
  const visit = (file: string): number => {
    const own = order.size;
    order.set(file, own);
    stack.push(file);
    let lowest = own;
    const imported = (imports.get(file) ?? []).filter((other) => imports.has(other));
    for (const other of imported) {
      const seen = order.get(other);
      if (seen === undefined) lowest = Math.min(lowest, visit(other));
      else if (stack.includes(other)) lowest = Math.min(lowest, seen);
    }
    if (lowest === own) {
      const group = stack.splice(stack.indexOf(file));
      if (group.length > 1 || imported.includes(file)) found.push(group.toSorted());
    }
    return lowest;
  };
  for (const file of imports.keys()) if (!order.has(file)) visit(file);
  return found.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1));
}
