/** The frameworks of Node.js, in the order in which they are looked for: those that contain others come first. */
import type { NodeApp } from './app.ts';
import { angular } from './frameworks/angular.ts';
import type { Framework, FrameworkPlan } from './frameworks/framework.ts';
import { next } from './frameworks/next.ts';
import { nitro, nuxt, tanstackStart } from './frameworks/nuxt.ts';
import { adonis, astro, nest, reactRouter, remix, strapi } from './frameworks/servers.ts';
import { sites, vitePress } from './frameworks/sites.ts';
import { svelteKit } from './frameworks/sveltekit.ts';
import { majorOf } from './manifest.ts';

const frameworks: readonly Framework[] = [
  next,
  nuxt,
  svelteKit,
  remix,
  reactRouter,
  tanstackStart,
  nitro,
  astro,
  angular,
  nest,
  adonis,
  strapi,
  vitePress,
  ...sites,
];

export interface FoundFramework {
  readonly framework: Framework;
  /** `Next.js 15`. */
  readonly title: string;
  readonly reason: string;
  readonly plan: FrameworkPlan;
}

/** Returns the framework of the app itself; what only the root of its workspace depends on does not count. */
export async function findFramework(app: NodeApp): Promise<FoundFramework | undefined> {
  const { dependencies, devDependencies } = app.manifest;
  const own: Readonly<Record<string, string>> = { ...devDependencies, ...dependencies };
  for (const framework of frameworks) {
    const name = framework.packages.find((one) => own[one] !== undefined);
    if (name === undefined) continue;
    const plan = await framework.plan(app);
    if (plan === undefined) continue;
    const major = majorOf(own[name]);
    return {
      framework,
      title: major === undefined ? framework.name : `${framework.name} ${major}`,
      reason: `package.json depends on ${name} ${own[name]}`,
      plan,
    };
  }
  return undefined;
}
