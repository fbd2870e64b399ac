/** What apps and their installation inherit of the agent's environment: what belongs to the machine and its user, nothing of the product. */
import { delimiter, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Everything that is inherited, so that secrets and settings of the agent (HOLDFAST_*, NODE_OPTIONS, npm_*) stay its own. */
const inherited = [
  /^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LANGUAGE|LC_[A-Z]+)$/,
  /^(https?_proxy|no_proxy|all_proxy)$/i,
  /^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE)$/,
];
const productRoot = fileURLToPath(new URL('../../../', import.meta.url));
/** What npm puts before PATH, besides the `.bin` of each folder above: a node-gyp of its own. */
const npmOwnTools =
  /[\\/]node_modules[\\/](@npmcli[\\/]run-script|npm-lifecycle)[\\/].*node-gyp-bin$|[\\/]npm[\\/]bin[\\/]node-gyp-bin$/;

/** @param root of the product; replaced in tests. */
export function inheritedEnvironment(env: Environment, root = productRoot): Record<string, string> {
  const own: Record<string, string> = {};
  for (const [key, value] of Object.entries(env)) {
    if (value !== undefined && inherited.some((pattern) => pattern.test(key))) own[key] = value;
  }
  own['PATH'] = cleanPath(env['PATH'] ?? '', root);
  return own;
}

/** PATH without what `npm start` and `npx` put into it for the product: an app that needs a tool of ours would run on no other machine. */
function cleanPath(path: string, root: string): string {
  const ours = new Set<string>();
  let folder = root.endsWith(sep) ? root.slice(0, -1) : root;
  const modules = join(folder, 'node_modules') + sep;
  for (;;) {
    ours.add(join(folder, 'node_modules', '.bin'));
    const above = dirname(folder);
    if (above === folder) break;
    folder = above;
  }
  const kept = path.split(delimiter).filter((entry) => {
    const plain = entry.length > 1 && entry.endsWith(sep) ? entry.slice(0, -1) : entry;
    return plain !== '' && !ours.has(plain) && !plain.startsWith(modules) && !npmOwnTools.test(plain);
  });
  return kept.length === 0 ? '/usr/local/bin:/usr/bin:/bin' : kept.join(delimiter);
}
