/** What the structure check reads of a source file. */
import { posix } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';

export interface SourceFile {
  /** Relative to the root of the repository. */
  readonly path: string;
  /** Files of the repository that it imports or re-exports, as values or types, statically or dynamically. */
  readonly imports: readonly string[];
  /** Names of packages and of Node's modules that it imports. */
  readonly packages: readonly string[];
  readonly readsEnvironment: boolean;
  readonly listensToAbort: boolean;
}

/** @throws Error where the file has a syntax error. */
export function readSourceFile(path: string, text: string): SourceFile {
  const { program, module, errors } = parseSync(path, text);
  if (errors[0] !== undefined) throw new Error(`${path}: ${errors[0].message}`);
  const specifiers = new Set([
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) => entries.flatMap((entry) => entry.moduleRequest?.value ?? [])),
  ]);
  let readsEnvironment = false;
  let listensToAbort = false;
  new Visitor({
    ImportExpression({ source }) {
      if (source.type === 'Literal' && typeof source.value === 'string') specifiers.add(source.value);
    },
    TSImportType({ source }) {
      specifiers.add(source.value);
    },
    MemberExpression({ object, property }) {
      if (object.type !== 'Identifier' || object.name !== 'process') return;
      readsEnvironment ||= property.type === 'Identifier' && property.name === 'env';
    },
    CallExpression({ callee, arguments: [first] }) {
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return;
      if (callee.property.name !== 'addEventListener' || first?.type !== 'Literal') return;
      listensToAbort ||= first.value === 'abort';
    },
  }).visit(program);
  const all = [...specifiers];
  return {
    path,
    imports: all.filter(isRelative).map((specifier) => posix.join(posix.dirname(path), specifier)),
    packages: all.filter((specifier) => !isRelative(specifier)),
    readsEnvironment,
    listensToAbort,
  };
}

function isRelative(specifier: string): boolean {
  return specifier.startsWith('.');
}
