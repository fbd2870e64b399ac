/** Restarts parts of the embedded Holdfast when their code changes: `npm run dev`. */
import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';

type Part = 'agent' | 'router';

/** Editors write a file in several steps. */
const quietMs = 200;

const partsOf: Readonly<Record<string, readonly Part[]>> = {
  agent: ['agent'],
  router: ['router'],
  shared: ['agent', 'router'],
};

/** @param root folder with agent/, router/ and shared/ in it. */
export function watchCode(root: string, onChange: (part: Part) => void): { close(): void } {
  const changed = new Set<Part>();
  let timer: NodeJS.Timeout | undefined;
  const watchers = Object.entries(partsOf).map(([folder, parts]): FSWatcher =>
    watch(join(root, folder), { recursive: true }, (_event, file) => {
      if (file === null || !/\.(ts|sql|json)$/.test(file) || file.endsWith('.test.ts')) return;
      for (const part of parts) changed.add(part);
      clearTimeout(timer);
      timer = setTimeout(() => {
        for (const part of changed) onChange(part);
        changed.clear();
      }, quietMs);
    }),
  );
  return {
    close() {
      clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}
