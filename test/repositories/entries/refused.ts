/** Repositories that are refused, with what the error says. */
import { json } from '../entry.ts';

export interface RefusedEntry {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly error: RegExp;
}

const site = { scripts: { start: 'node server.js' } };

export const refusedEntries: readonly RefusedEntry[] = [
  {
    name: 'a folder of no known kind',
    files: { 'notes.txt': 'nothing to run\n' },
    error: /no preset fits|nothing/,
  },
  {
    name: 'lock files of two managers',
    files: {
      'package.json': json(site),
      'server.js': '',
      'yarn.lock': '',
      'pnpm-lock.yaml': "lockfileVersion: '9.0'\n",
    },
    error: /several package managers \(.*yarn\.lock.*\)|several package managers/,
  },
  {
    name: 'a manifest that is no JSON',
    files: { 'package.json': '{ "scripts": ' },
    error: /source_invalid: .*package\.json/,
  },
  {
    name: 'Python without anything to start',
    files: { 'requirements.txt': 'requests\n', 'lib/a.py': 'x = 1\n', 'lib/b.py': 'y = 1\n' },
    error: /^dockerfile_invalid: /,
  },
  {
    name: 'a site whose output folder is not there after the build',
    files: {
      'package.json': json({ scripts: { build: 'node -e 0' }, devDependencies: {} }),
      'holdfast.toml': '[build]\noutput = "made"\n',
    },
    error: /build_failed: .*/,
  },
  {
    name: 'a server that listens elsewhere',
    files: {
      'server.js': "require('node:http').createServer((q, r) => r.end('x')).listen(3999, '127.0.0.1');\n",
    },
    error: /3999/,
  },
  {
    name: 'an install that fails',
    files: {
      'package.json': json({ ...site, dependencies: { '@holdfast-example/is-not-there': '1.0.0' } }),
      'server.js': '',
    },
    error: /build_failed: npm install/,
  },
];
