/** Pages of the router: a template with its values escaped, and a content security policy that lets nothing else run. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface PageTemplate {
  /** Fields of every answer with the page. */
  readonly fields: Readonly<Record<string, string>>;
  /**
   * @param values by name, escaped where they stand.
   * @param html parts that are markup already.
   */
  render(values: Readonly<Record<string, string>>, html: Readonly<Record<string, string>>): Buffer;
}

/** @param directives of the policy besides those of the template's own script and style. */
export function readTemplate(file: URL, directives: readonly string[]): PageTemplate {
  // Without its indentation; no string in it spans lines.
  const template = readFileSync(file, 'utf8').replace(/\n\s+/g, '\n');
  const policy = [
    "default-src 'none'",
    ...(template.includes('<script>') ? [`script-src '${hashOf(template, 'script')}'`] : []),
    `style-src '${hashOf(template, 'style')}'`,
    // The pages have an empty icon, so that the browser does not ask an app for one.
    'img-src data:',
    "base-uri 'none'",
    ...directives,
  ].join('; ');
  return {
    fields: {
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-store',
      'Content-Security-Policy': policy,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      'X-Robots-Tag': 'noindex',
    },
    render(values, html) {
      return Buffer.from(
        template.replace(/\{\{(\w+)\}\}/g, (_all, name: string) => html[name] ?? escaped(values[name] ?? '')),
      );
    },
  };
}

export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => entities[char] ?? '');
}

function hashOf(template: string, element: 'script' | 'style'): string {
  const content = new RegExp(`<${element}>([^]*)</${element}>`).exec(template)?.[1] ?? '';
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
