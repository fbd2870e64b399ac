/** Writes the stages of a Dockerfile that serve a site with nginx. */
import { type Site, defaultPort } from '../plan.ts';
import { at } from '../tree.ts';
import { exec, quoted } from './instructions.ts';
import { nginxConfig, nginxConfigFile } from './nginx.ts';

const base = 'nginx:1-alpine';
/** The numeric id of the user `nginx` in that image. */
const nginxUser = '101:101';

export function siteFiles(_site: Site): Record<string, string> {
  return { [nginxConfigFile]: nginxConfig() };
}

/** Returns a shell text that fails, saying what was looked for, if none of the folders has an index.html. */
export function siteCheck({ folders }: Site): string {
  const tests = folders.map((folder) => `[ -f ${quoted(at(folder, 'index.html'))} ]`);
  const looked = folders.map((folder) => (folder === '' ? 'the folder itself' : folder)).join(', ');
  const message = `no index.html is in ${looked} after the build: set build.output to the folder that the build writes`;
  return `${tests.join(' || ')} || { echo ${quoted(message)} >&2; exit 1; }`;
}

/**
 * Returns a shell text that writes the page for navigations to paths without a file into nginx's configuration: the
 * 200.html that some generators make for it, or the only page of a site that has no 404.html.
 */
function fallback({ spa }: Site, isBuilt: boolean): string {
  const set = (page: string): string => `sed -i 's#__FALLBACK__#${page}#' /etc/nginx/${nginxConfigFile}`;
  if (spa === false) return set('');
  const other =
    spa === true
      ? set('/index.html')
      : isBuilt
        ? `if ${onlyPage}; then ${set('/index.html')}; else ${set('')}; fi`
        : set('');
  return `if [ -f /site/200.html ]; then ${set('/200.html')}; else ${other}; fi`;
}

const onlyPage = `[ ! -f /site/404.html ] && [ "$(find /site -name '*.html' | wc -l)" -eq 1 ]`;

export function siteStages(site: Site, stage: string | undefined): string[] {
  const { folders } = site;
  const copies = folders.map((folder) => {
    const from = at('/src', folder);
    return { test: `[ -f ${quoted(`${from}/index.html`)} ]`, copy: `cp -R ${quoted(`${from}/.`)} /site/` };
  });
  const [only] = copies;
  const copied =
    copies.length === 1 && only !== undefined
      ? only.copy
      : `if ${copies.map((one) => `${one.test}; then ${one.copy}`).join('; elif ')}; fi`;
  return [
    `FROM ${base} AS site`,
    'USER 0',
    stage === undefined ? 'COPY . /src/' : `COPY --from=${stage} /app /src`,
    `COPY ${nginxConfigFile} /etc/nginx/${nginxConfigFile}`,
    '# Copied, so that each file has the time of this build: browsers tell by it whether theirs is still good. Sources come without times.',
    `RUN mkdir /site && ${copied} \\`,
    `  && rm -f /site/Dockerfile* /site/${nginxConfigFile} && test -f /site/index.html && chmod -R a+rX /site`,
    '# The page for navigations to paths without a file, if there is one.',
    `RUN ${fallback(site, stage !== undefined)}`,
    '',
    `FROM ${base}`,
    `ENV PORT=${defaultPort}`,
    `COPY --from=site /etc/nginx/${nginxConfigFile} /etc/nginx/${nginxConfigFile}`,
    'COPY --from=site /site /usr/share/nginx/html',
    '# The user nginx, by number, so that run_as_non_root can be checked; it writes to /tmp only.',
    `USER ${nginxUser}`,
    `EXPOSE ${defaultPort}`,
    '# Lets answers end first; SIGTERM would cut them.',
    'STOPSIGNAL SIGQUIT',
    `ENTRYPOINT ${exec(['/bin/sh', '-c'])}`,
    `CMD ${exec([`sed "s/__PORT__/\${PORT:-${defaultPort}}/" /etc/nginx/${nginxConfigFile} > /tmp/nginx.conf && exec nginx -c /tmp/nginx.conf -e stderr -g 'daemon off;'`])}`,
  ];
}
