/** Apps below a path as a person sees them: a real Chromium before the embedded default, with apps that know nothing of their path. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { folder, holdfast, start } from '../../cli/testing/embedded.ts';
import { startChromium, type BrowserPage } from '../support/chromium.ts';

/** A shop with relative links, a login by a form, and a session that belongs to the whole of what it takes for its host. */
const shop = `
const { createServer } = require('node:http');
const name = process.env.NAME;
createServer((request, response) => {
  const html = (body) => response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>' + name + '</title><link rel="icon" href="data:,">' + body);
  switch (request.method + ' ' + request.url) {
    case 'GET /style.css':
      return response.setHeader('Content-Type', 'text/css').end('h1 { color: rgb(1, 2, 3) }');
    case 'POST /login':
      return response.writeHead(303, { Location: '/account', 'Set-Cookie': 'session=' + name + '; Path=/; HttpOnly' }).end();
    case 'GET /account':
      return html('<p>' + name + ' knows: ' + (request.headers.cookie ?? 'nobody') + '</p>');
    case 'GET /cart':
      return html('<p>the cart of ' + name + '</p>');
    default:
      return html('<link rel="stylesheet" href="style.css"><h1>' + name + '</h1><a href="cart">cart</a>' +
        '<form method="post" action="login"><button>log in</button></form>');
  }
}).listen(process.env.PORT);
`;

/** A single-page app that was built for its path: every path but that of its script is its page. */
const orders = `
const { createServer } = require('node:http');
createServer((request, response) => {
  const isScript = request.url === '/app.js';
  response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript
    ? "document.querySelector('p').textContent = 'order ' + location.pathname.split('/').pop();"
    : '<!doctype html><link rel="icon" href="data:,"><p></p><script src="/orders/app.js"></script>');
}).listen(process.env.PORT);
`;

async function write(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

const text = `document.body?.innerText ?? ''`;

async function says(seen: BrowserPage, what: RegExp, withinMs = 60_000): Promise<void> {
  await eventually(withinMs, async () => assert.match(String(await seen.evaluate(text)), what));
}

test('apps below a path, in a browser', async (t) => {
  const home = await folder(t);
  const { base } = await start(t, home);
  await write(home, {
    'shop/server.js': shop,
    'shop/package.json': '{ "scripts": { "start": "node server.js" } }',
    'orders/server.js': orders,
    'orders/package.json': '{ "scripts": { "start": "node server.js" } }',
    'apps.toml': `
[[app]]
name = "shop"
path = "/shop"
source = "shop"
env = { NAME = "shop" }

[[app]]
name = "team"
path = "/team/shop"
source = "shop"
env = { NAME = "team" }

[[app]]
name = "orders"
path = "/orders"
source = "orders"
`,
  });
  const applied = await holdfast(home, 'apply', '-f', 'apps.toml');
  assert.equal(applied.code, 0, applied.err);
  assert.match(applied.out, /^shop: created, version 1\n {2}http:\/\/localhost:\d+\/shop\/$/m);
  const browser = await startChromium(t);

  await t.test('styles and links of a page that was opened without its last slash lead to the app', async () => {
    const seen = await browser.open();
    await seen.goto(`${base}/shop?from=mail`);
    await says(seen, /shop/);
    assert.equal(await seen.evaluate('location.href'), `${base}/shop/?from=mail`);
    // The text may be there before its style sheet.
    const color = `getComputedStyle(document.querySelector('h1')).color`;
    await eventually(60_000, async () => assert.equal(await seen.evaluate(color), 'rgb(1, 2, 3)'));
    await seen.evaluate(`document.querySelector('a').click()`);
    await says(seen, /the cart of shop/);
    assert.deepEqual(seen.errors, []);
  });

  await t.test('a form that redirects stays in its app, and two apps on one host have a login each', async () => {
    const seen = await browser.open();
    for (const [path, name] of [
      ['/shop', 'shop'],
      ['/team/shop', 'team'],
    ] as const) {
      await seen.goto(`${base}${path}/`);
      await eventually(60_000, async () => assert.equal(await seen.evaluate('document.title'), name));
      await seen.evaluate('document.forms[0].submit()');
      await says(seen, new RegExp(`${name} knows: session=${name}$`));
      assert.equal(await seen.evaluate('location.pathname'), `${path}/account`);
    }
    await seen.goto(`${base}/shop/account`);
    await says(seen, /shop knows: session=shop$/);
  });

  await t.test('a single-page app is reloaded on a deep route', async () => {
    const seen = await browser.open();
    await seen.goto(`${base}/orders/open/7`);
    await says(seen, /order 7/);
    await seen.send('Page.reload');
    await says(seen, /order 7/);
    assert.deepEqual(seen.errors, []);
  });
});
