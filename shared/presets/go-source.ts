/** Reads Go source as far as presets need it: build constraints, the package, and whether C is imported. */

export interface GoFile {
  readonly package: string;
  /** Whether the file is part of a build for Linux without special tags. */
  readonly isBuilt: boolean;
  readonly importsC: boolean;
}

const systems = ['aix', 'android', 'darwin', 'dragonfly', 'freebsd', 'illumos', 'ios', 'js', 'netbsd', 'openbsd', 'plan9', 'solaris', 'wasip1', 'windows']; // prettier-ignore
const others = new Set([...systems, 'wasm', 'arm', '386', 'mips', 'ppc64', 'riscv64', 's390x']);
const known = /^(?:linux|unix|gc|amd64|arm64|cgo|go1\.\d+|timetzdata|netgo|osusergo)$/;

export function readGoFile(name: string, source: string): GoFile {
  const head = source.slice(0, 65_536).replaceAll(/\/\*[^]*?\*\//g, '');
  const packageName = /^package\s+(\w+)/m.exec(head)?.[1] ?? '';
  const before = head.slice(0, head.search(/^package\s/m));
  const constraint = /^\/\/go:build\s+(.+)$/m.exec(before)?.[1];
  const old =
    constraint === undefined ? [...before.matchAll(/^\/\/ \+build\s+(.+)$/gm)].map(([, tags]) => tags ?? '') : [];
  const suffixes = name.replace(/\.go$/, '').split('_').slice(1);
  return {
    package: packageName,
    isBuilt:
      !suffixes.some((suffix) => others.has(suffix)) &&
      (constraint === undefined || holds(constraint)) &&
      old.every((line) => line.split(/\s+/).some((option) => option.split(',').every((tag) => holds(tag)))),
    importsC: /^import\s+"C"$|^\s+"C"$/m.test(head),
  };
}

/** Evaluates an expression of build tags: `linux && !cgo || ignore`. */
function holds(expression: string): boolean {
  const tokens = expression.match(/&&|\|\||[!()]|[\w.]+/g) ?? [];
  let at = 0;
  const either = (): boolean => {
    let value = both();
    while (tokens[at] === '||') {
      at += 1;
      value = both() || value;
    }
    return value;
  };
  const both = (): boolean => {
    let value = one();
    while (tokens[at] === '&&') {
      at += 1;
      value = one() && value;
    }
    return value;
  };
  const one = (): boolean => {
    const token = tokens[at] ?? '';
    at += 1;
    if (token === '!') return !one();
    if (token !== '(') return known.test(token);
    const value = either();
    at += 1;
    return value;
  };
  return either();
}
