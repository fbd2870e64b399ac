/** Repositories of sites, Go, Bun and Deno, and those that are refused. */
import { type Repository, json } from './repository.ts';

const page = '<!doctype html><title>hello</title><p>hello\n';
const call = { path: '/', status: 200, text: 'hello' };
const site = (
  packages: object,
  scripts: object,
  more: Readonly<Record<string, string>> = {},
): Record<string, string> => ({
  'package.json': json({ scripts, devDependencies: packages }),
  ...more,
});
const goMain =
  'package main\n\nimport (\n\t"fmt"\n\t"net/http"\n\t"os"\n)\n\nfunc main() {\n\thttp.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })\n\tif err := http.ListenAndServe(":"+os.Getenv("PORT"), nil); err != nil {\n\t\tpanic(err)\n\t}\n}\n';
const built = `const fs = require('fs'); fs.mkdirSync('www', { recursive: true }); fs.writeFileSync('www/index.html', 'hello');`;

export const siteRepositories: readonly Repository[] = [
  { name: 'an index.html', files: { 'index.html': page }, expected: { preset: 'static', start: 'site .' }, call },
  { name: 'a site in public', files: { 'public/index.html': page }, expected: { preset: 'static', start: 'site public' }, call },
  { name: 'a Staticfile', files: { Staticfile: 'root: html\n', 'html/index.html': page }, expected: { preset: 'static', start: 'site html' }, call },
  { name: 'Vite', files: site({ vite: '7' }, { build: 'vite build', start: 'vite' }, { 'index.html': page }), expected: { preset: 'static', start: 'site dist build out', steps: 'Vite 7' }, call },
  { name: 'Vite with outDir', files: site({ vite: '7' }, { build: 'vite build' }, { 'index.html': page, 'vite.config.js': "export default { build: { outDir: 'www' } };" }), expected: { preset: 'static', start: 'site www dist build out' }, call },
  { name: 'Create React App', files: site({ 'react-scripts': '5' }, { build: 'react-scripts build', start: 'react-scripts start' }), expected: { preset: 'static', start: 'site build dist out' } },
  { name: 'Vue CLI', files: site({ '@vue/cli-service': '5' }, { build: 'vue-cli-service build', serve: 'vue-cli-service serve' }), expected: { preset: 'static', start: 'site dist build out' } },
  { name: 'Angular', files: site({ '@angular/core': '20', '@angular/cli': '20' }, { build: 'ng build', start: 'ng serve' }, { 'angular.json': json({ projects: { shop: { projectType: 'application', architect: { build: { builder: '@angular/build:application', options: {} } } } } }) }), expected: { preset: 'static', start: 'site dist/shop/browser dist/shop' } },
  { name: 'Gatsby', files: site({ gatsby: '5' }, { build: 'gatsby build', start: 'gatsby develop' }), expected: { preset: 'static', start: 'site public dist build out' } },
  { name: 'Docusaurus', files: site({ '@docusaurus/core': '3' }, { build: 'docusaurus build', start: 'docusaurus start' }), expected: { preset: 'static', start: 'site build dist out' } },
  { name: 'VitePress', files: site({ vitepress: '1' }, { build: 'vitepress build docs' }, { 'docs/index.md': '# hello\n' }), expected: { preset: 'static', start: 'site docs/.vitepress/dist' }, call },
  { name: 'Eleventy', files: site({ '@11ty/eleventy': '3' }, { build: 'eleventy', start: 'eleventy --serve' }, { 'index.md': '# hello\n' }), expected: { preset: 'static', start: 'site _site dist build out' }, call },
  { name: 'Astro', files: site({ astro: '5' }, { build: 'astro build', start: 'astro dev' }, { 'src/pages/index.astro': '<p>hello</p>\n' }), expected: { preset: 'static', start: 'site dist' }, call },
  { name: 'a build script of its own', files: site({}, { build: 'node make.js' }, { 'make.js': built.replaceAll('www', 'dist') }), expected: { preset: 'static', start: 'site dist build out _site public' }, call },
  { name: 'an output that only a key names', files: site({}, { build: 'node make.js' }, { 'make.js': built }), settings: { output: 'www' }, expected: { preset: 'static', start: 'site www' }, call },
  { name: 'serve', files: site({ serve: '14' }, { build: 'node make.js', start: 'serve -s www' }, { 'make.js': built }), expected: { preset: 'static', start: 'site www' }, call },
  { name: 'netlify.toml', files: site({}, { build: 'node make.js' }, { 'make.js': built, 'netlify.toml': '[build]\npublish = "www"\n' }), expected: { preset: 'static', start: 'site www' }, call },
  { name: 'vercel.json', files: site({}, { build: 'exit 1' }, { 'make.js': built, 'vercel.json': json({ buildCommand: 'node make.js', outputDirectory: 'www' }) }), expected: { preset: 'static', start: 'site www', steps: 'node make.js' }, call },
]; // prettier-ignore

export const goRepositories: readonly Repository[] = [
  { name: 'Go', files: { 'go.mod': 'module x\n\ngo 1.22\n', 'main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', image: 'golang:1.26', steps: 'go build -trimpath -tags timetzdata -ldflags -s -w -o .holdfast-bin/app .' }, call },
  { name: 'Go with a library in the root and an ignored generator', files: { 'go.mod': 'module x\n\ngo 1.22\n', 'lib.go': 'package x\n', 'gen.go': '//go:build ignore\n\npackage main\n\nfunc main() {}\n', 'cmd/svc/main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', steps: './cmd/svc' }, call },
  { name: 'Go with programs of which one is a server', files: { 'go.mod': 'module x\n\ngo 1.22\n', 'cmd/server/main.go': goMain, 'cmd/migrate/main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', steps: './cmd/server' }, call },
  { name: 'Go with programs of which none is a server', files: { 'go.mod': 'module x\n', 'cmd/a/main.go': goMain, 'cmd/b/main.go': goMain }, expected: { refused: /several programs \(a, b\): set build\.dir/ } },
  { name: 'Go with programs and dir', files: { 'go.mod': 'module x\n\ngo 1.22\n', 'cmd/a/main.go': goMain, 'cmd/b/main.go': goMain }, settings: { dir: 'cmd/b' }, expected: { preset: 'go', start: './.holdfast-bin/app', steps: './cmd/b' }, call },
  { name: 'a Go workspace', files: { 'go.work': 'go 1.22\n\nuse (\n\t./lib\n\t./svc\n)\n', 'lib/go.mod': 'module example.org/lib\n\ngo 1.22\n', 'lib/lib.go': 'package lib\n', 'svc/go.mod': 'module example.org/svc\n\ngo 1.22\n', 'svc/main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', steps: './svc' }, call },
  { name: 'Go for another system', files: { 'go.mod': 'module x\n\ngo 1.22\n', 'main_windows.go': goMain, 'cmd/x/main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', steps: './cmd/x' }, call },
  { name: 'Go with cgo', files: { 'go.mod': 'module x\n\ngo 1.22\n\nrequire github.com/mattn/go-sqlite3 v1.14.22\n', 'main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', steps: '-linkmode external' } },
  { name: 'a library in Go', files: { 'go.mod': 'module x\n', 'x.go': 'package x\n' }, expected: { refused: /no `package main`/ } },
  { name: 'a .go-version', files: { 'go.mod': 'module x\n\ngo 1.22\n', '.go-version': '1.24.1\n', 'main.go': goMain }, expected: { preset: 'go', start: './.holdfast-bin/app', image: 'golang:1.24' } },
]; // prettier-ignore

const bunServer = "export default { fetch: () => new Response('hello') };\n";
const denoServer = "Deno.serve(() => new Response('hello'));\n";

export const bunAndDenoRepositories: readonly Repository[] = [
  { name: 'Bun', files: { 'package.json': json({ module: 'index.ts', devDependencies: { '@types/bun': '1' } }), 'bun.lock': '{}', 'index.ts': bunServer }, expected: { preset: 'bun', start: 'bun run index.ts', image: 'oven/bun:1' } },
  { name: 'Bun by its start script', files: { 'package.json': json({ scripts: { start: 'bun run src/index.ts' } }), 'src/index.ts': bunServer }, expected: { preset: 'bun', start: 'bun run src/index.ts' }, call },
  { name: 'Bun with a development script alone', files: { 'package.json': json({ scripts: { dev: 'bun run --hot src/index.ts' } }), 'bun.lock': '{}', 'src/index.ts': bunServer }, expected: { preset: 'bun', start: 'bun run src/index.ts' } },
  { name: 'Deno', files: { 'deno.json': '{}', 'main.ts': denoServer }, expected: { preset: 'deno', start: 'export DENO_SERVE_ADDRESS="tcp:$HOLDFAST_HOST:${PORT:-8080}"; exec deno run -A main.ts' }, call },
  { name: 'Deno without a configuration', files: { 'main.ts': denoServer }, expected: { preset: 'deno', start: 'export DENO_SERVE_ADDRESS="tcp:$HOLDFAST_HOST:${PORT:-8080}"; exec deno run -A main.ts' }, call },
  { name: 'a handler for deno serve', files: { 'deno.jsonc': '{ // nothing\n}', 'main.ts': bunServer }, expected: { preset: 'deno', start: 'deno serve -A --port "${PORT:-8080}" --host "$HOLDFAST_HOST" main.ts' }, call },
  { name: 'a start task of Deno', files: { 'deno.json': json({ tasks: { dev: 'deno run --watch x.ts', start: 'deno run --allow-net --allow-env x.ts' } }), 'x.ts': denoServer }, expected: { preset: 'deno', start: 'export DENO_SERVE_ADDRESS="tcp:$HOLDFAST_HOST:${PORT:-8080}"; exec deno run --allow-net --allow-env x.ts' }, call },
]; // prettier-ignore

export const refusedRepositories: readonly Repository[] = [
  { name: 'nothing known', files: { 'README.md': '' }, expected: { refused: /no preset fits it: there is neither a deno\.json.*index\.html/ } },
  { name: '.NET', files: { 'shop.csproj': '' }, expected: { refused: /looks like \.NET \(shop\.csproj\), for which there is no preset/ } },
  { name: 'Elixir', files: { 'mix.exs': '' }, expected: { refused: /Elixir \(mix\.exs\)/ } },
  { name: 'Scala', files: { 'build.sbt': '' }, expected: { refused: /Scala/ } },
  { name: 'Swift', files: { 'Package.swift': '' }, expected: { refused: /Swift/ } },
  { name: 'spa of a server', files: { 'server.js': '' }, settings: { spa: true }, expected: { refused: /`spa` is for sites/ } },
]; // prettier-ignore
