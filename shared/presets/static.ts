/** The preset `static`: files served by nginx, possibly from a site that is built with node first. */
import { exec, generatedBy, ignoreFile, text } from './dockerfile.ts';
import { nginxConfig, nginxConfigFile } from './nginx.ts';
import { foundIn, installCommands, installStage, nodeIgnored } from './node.ts';
import { type NodeProject, readNodeProject } from './node-project.ts';
import { type Preset, type PresetTree, defaultPort, misfit } from './preset.ts';

const base = 'nginx:1-alpine';
/** The numeric id of the user `nginx` in that image. */
const nginxUser = '101:101';
const siteFolders = ['', 'dist', 'public', 'build', 'out', '_site', 'site', 'www'];
/** The usual output folders of site generators. */
const builtFolders = ['dist', 'build', 'out', '_site', 'public'];

type Site =
  { readonly kind: 'files'; readonly folder: string } | { readonly kind: 'built'; readonly project: NodeProject };

export const staticFiles: Preset = {
  async files(tree) {
    const site = await findSite(tree);
    if (site === undefined) throw noSite();
    const { dockerignore, found } =
      site.kind === 'files'
        ? { dockerignore: [], found: [site.folder === '' ? 'index.html' : `${site.folder}/index.html`] }
        : { dockerignore: nodeIgnored, found: foundIn(site.project) };
    return {
      dockerfile: dockerfile(site),
      files: { [nginxConfigFile]: nginxConfig(), ...(await ignoreFile(tree, dockerignore)) },
      found: [...found, 'served by nginx'],
    };
  },

  async command(tree) {
    const site = await findSite(tree);
    if (site === undefined) throw noSite();
    const folders = site.kind === 'files' ? [site.folder === '' ? '.' : site.folder] : builtFolders;
    return {
      install: site.kind === 'files' ? [] : installCommands(site.project),
      run: undefined,
      serves: folders,
      cwd: '',
      binaries: site.kind === 'files' ? [] : ['node_modules/.bin'],
      env: site.kind === 'files' ? {} : site.project.manager.env,
    };
  },
};

/** A package.json with a build script and nothing to start is a site to build; its index.html is only an input. */
export async function findSite(tree: PresetTree): Promise<Site | undefined> {
  if (await tree.has('package.json')) {
    const project = await readNodeProject(tree);
    if (project.start === undefined && project.build.length > 0) return { kind: 'built', project };
  }
  for (const folder of siteFolders)
    if (await tree.has(folder === '' ? 'index.html' : `${folder}/index.html`)) return { kind: 'files', folder };
  return undefined;
}

function noSite(): ReturnType<typeof misfit> {
  return misfit('there is no index.html, neither in the folder nor in dist, public or build');
}

function dockerfile(site: Site): string {
  const from =
    site.kind === 'files' ? [] : [...installStage({ ...site.project, needsDevelopment: 'start' }, 'build'), ''];
  const folder = site.kind === 'files' && site.folder !== '' ? `/${site.folder}` : '';
  const loop = `for d in ${builtFolders.join(' ')}; do if [ -f /src/$d/index.html ]; then cp -R /src/$d/. /site/; break; fi; done`;
  return text([
    ...generatedBy('static', 'Static files, served by nginx.'),
    ...from,
    `FROM ${base} AS site`,
    'USER 0',
    site.kind === 'files' ? 'COPY . /src/' : 'COPY --from=build /app /src',
    '# Copied, so that each file has the time of this build: browsers tell by it whether theirs is still good. Sources come without times.',
    `RUN mkdir /site && ${site.kind === 'files' ? `cp -R /src${folder}/. /site/` : loop} \\`,
    `  && rm -f /site/Dockerfile* /site/${nginxConfigFile} && test -f /site/index.html && chmod -R a+rX /site`,
    '',
    `FROM ${base}`,
    `ENV PORT=${defaultPort}`,
    `COPY ${nginxConfigFile} /etc/nginx/${nginxConfigFile}`,
    'COPY --from=site /site /usr/share/nginx/html',
    '# The user nginx, by number, so that run_as_non_root can be checked; it writes to /tmp only.',
    `USER ${nginxUser}`,
    `EXPOSE ${defaultPort}`,
    '# Lets answers end first; SIGTERM would cut them.',
    'STOPSIGNAL SIGQUIT',
    `ENTRYPOINT ${exec(['/bin/sh', '-c'])}`,
    `CMD ${exec([`sed "s/__PORT__/\${PORT:-${defaultPort}}/" /etc/nginx/${nginxConfigFile} > /tmp/nginx.conf && exec nginx -c /tmp/nginx.conf -e stderr -g 'daemon off;'`])}`,
  ]);
}
