/** Frameworks of the web with a build of their own. */
import { type Entry, json, root } from '../entry.ts';

const page = (script: string): string =>
  `<!doctype html><html><head><title>shop</title></head><body><div id="app">the shell</div><script type="module" src="${script}"></script></body></html>\n`;

export const frameworkEntries: readonly Entry[] = [
  {
    name: 'Next.js',
    files: {
      'package.json': json({
        private: true,
        scripts: { dev: 'next dev', build: 'next build', start: 'next start' },
        dependencies: { next: '^15.0.0', react: '^19.0.0', 'react-dom': '^19.0.0' },
      }),
      'next.config.mjs': 'export default { eslint: { ignoreDuringBuilds: true } };\n',
      'app/layout.js':
        'export default function Layout({ children }) { return <html><body>{children}</body></html>; }\n',
      'app/page.js': 'export default function Page() { return <h1>hello from Next.js</h1>; }\n',
      'app/api/time/route.js':
        'export const dynamic = "force-dynamic";\nexport const GET = () => Response.json({ api: "answers" });\n',
    },
    answers: [...root('hello from Next.js'), { path: '/api/time', text: '"api":"answers"' }],
  },
  {
    name: 'SvelteKit with adapter-node',
    files: {
      'package.json': json({
        private: true,
        type: 'module',
        scripts: { dev: 'vite dev', build: 'vite build', preview: 'vite preview' },
        devDependencies: {
          '@sveltejs/adapter-node': '^5.0.0',
          '@sveltejs/kit': '^2.0.0',
          '@sveltejs/vite-plugin-svelte': '^5.0.0',
          svelte: '^5.0.0',
          vite: '^6.0.0',
        },
      }),
      'svelte.config.js':
        "import adapter from '@sveltejs/adapter-node';\nexport default { kit: { adapter: adapter() } };\n",
      'vite.config.js': "import { sveltekit } from '@sveltejs/kit/vite';\nexport default { plugins: [sveltekit()] };\n",
      'src/app.html': '<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>\n',
      'src/routes/+page.svelte': '<h1>hello from SvelteKit</h1>\n',
      'src/routes/api/+server.js': "export const GET = () => new Response('the api');\n",
    },
    answers: [...root('hello from SvelteKit'), { path: '/api', text: 'the api' }],
  },
  {
    name: 'Astro as a site',
    files: {
      'package.json': json({
        type: 'module',
        scripts: { dev: 'astro dev', start: 'astro dev', build: 'astro build', preview: 'astro preview' },
        dependencies: { astro: '^5.0.0' },
      }),
      'astro.config.mjs': "import { defineConfig } from 'astro/config';\nexport default defineConfig({});\n",
      'src/pages/index.astro':
        '---\nconst name = "Astro";\n---\n<html><body><h1>hello from {name}</h1></body></html>\n',
      'src/pages/about.astro': '<html><body>about</body></html>\n',
    },
    answers: [...root('hello from Astro'), { path: '/about/', text: 'about' }, { path: '/none', status: 404 }],
  },
  {
    name: 'Vite, a single-page app whose start is a dev server',
    files: {
      'package.json': json({
        type: 'module',
        scripts: { start: 'vite', build: 'vite build' },
        devDependencies: { vite: '^6.0.0' },
      }),
      'index.html': page('/src/main.js'),
      'src/main.js': "document.querySelector('#app').textContent = location.pathname;\n",
    },
    answers: [...root('assets/index-'), { path: '/orders/7', text: 'the shell' }],
    image: true,
  },
  {
    name: 'Vite with an outDir of its own',
    files: {
      'package.json': json({ type: 'module', scripts: { build: 'vite build' }, devDependencies: { vite: '^6.0.0' } }),
      'vite.config.js': "export default { build: { outDir: 'public-site' } };\n",
      'index.html': page('/main.js'),
      'main.js': "console.log('started');\n",
    },
    answers: root('assets/index-'),
  },
  {
    name: 'Eleventy',
    files: {
      'package.json': json({ scripts: { build: 'eleventy' }, devDependencies: { '@11ty/eleventy': '^3.0.0' } }),
      'index.md': '# hello from Eleventy\n',
    },
    answers: root('hello from Eleventy'),
  },
];
