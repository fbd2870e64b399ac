/**
 * Tells an app its path, in the variables that its framework reads. A framework that has none has to be told by whoever writes the app, so
 * the plan says what would go wrong.
 */
import type { Plan, PlanRequest } from './plan.ts';

type Route = NonNullable<PlanRequest['route']>;

/** The plan with the path of its app; unchanged for an app that has a host of its own. */
export function withBasePath(plan: Plan, route: PlanRequest['route']): Plan {
  if (route === undefined) return plan;
  const { told, isTold, advice }: Told = plan.path === undefined ? byLanguage(plan, route) : { told: {}, ...plan.path };
  const notes = isTold ? [] : [warning(route, advice)];
  return {
    ...plan,
    run: { ...plan.run, env: { ...told, ...plan.run.env } },
    notes: [...(plan.notes ?? []), ...notes],
  };
}

interface Told {
  readonly told: Readonly<Record<string, string>>;
  readonly isTold: boolean;
  readonly advice?: string | undefined;
}

/** What the frameworks of a language read. */
function byLanguage({ preset, start }: Plan, route: Route): Told {
  const text = start.kind === 'command' ? start.words.join(' ') : '';
  if (preset === 'python') return python(text, route);
  if (preset === 'ruby') {
    // https://guides.rubyonrails.org/configuring.html#deploy-to-a-subdirectory-relative-url-root
    return { told: { RAILS_RELATIVE_URL_ROOT: route.path }, isTold: /\brails\b/.test(text) };
  }
  if (preset === 'java') {
    // https://docs.spring.io/spring-boot/appendix/application-properties/index.html
    // With a stripped path, it reads X-Forwarded-Prefix, as its preset tells it to.
    return {
      told: route.stripped ? {} : { SERVER_SERVLET_CONTEXT_PATH: route.path },
      isTold: text.includes('forward-headers-strategy'),
    };
  }
  return { told: {}, isTold: false };
}

/**
 * Without a prefix in the paths of calls, Streamlit and Shiny find their base from the address in the browser, and must not be told.
 * With one, uvicorn must not: it would put the prefix before a path that has it already.
 */
function python(start: string, { path, stripped }: Route): Told {
  if (!stripped) {
    const told = {
      STREAMLIT_SERVER_BASE_URL_PATH: path.slice(1),
      DASH_URL_BASE_PATHNAME: `${path}/`,
      // https://docs.gunicorn.org/en/stable/faq.html#how-do-i-set-script-name
      ...(/\bgunicorn\b/.test(start) ? { SCRIPT_NAME: path } : {}),
    };
    return { told, isTold: /\b(streamlit|gunicorn|uvicorn)\b/.test(start) };
  }
  // https://www.uvicorn.org/settings/: each option has a variable.
  const told = {
    UVICORN_ROOT_PATH: path,
    GRADIO_ROOT_PATH: path,
    DASH_REQUESTS_PATHNAME_PREFIX: `${path}/`,
    DASH_ROUTES_PATHNAME_PREFIX: '/',
  };
  const isGunicorn = /\bgunicorn\b/.test(start);
  return {
    told,
    isTold: /\b(uvicorn|streamlit)\b|--root-path|--url-prefix/.test(start),
    advice: isGunicorn ? 'set `strip_path = false` in [app.config], and gunicorn tells the app its path' : undefined,
  };
}

function warning({ path }: Route, advice = 'set the base path of its framework'): string {
  return `the app is below ${path}: links of its pages to absolute paths, such as /assets/…, miss it. Give it a host of its own (no \`path\`), or ${advice}`;
}
