/**
 * Tells an app its path, in the variables that its framework reads. A framework that has none has to be told by whoever writes the app, so
 * the plan says what would go wrong.
 */
import type { Plan, PlanRequest } from './plan.ts';

type Route = NonNullable<PlanRequest['route']>;

/** The plan with the path of its app; unchanged for an app that has a host of its own. */
export function withBasePath(plan: Plan, route: PlanRequest['route']): Plan {
  if (route === undefined) return plan;
  const told: Readonly<Record<string, string>> = plan.preset === 'python' ? pythonVariables(route) : {};
  const notes = isTold(plan) ? [] : [warning(route)];
  return {
    ...plan,
    run: { ...plan.run, env: { ...told, ...plan.run.env } },
    notes: [...(plan.notes ?? []), ...notes],
  };
}

/**
 * Without a prefix in the paths of calls, Streamlit and Shiny find their base from the address in the browser, and must not be told.
 * With one, uvicorn must not: it would put the prefix before a path that has it already.
 */
function pythonVariables({ path, stripped }: Route): Readonly<Record<string, string>> {
  return stripped
    ? {
        // https://www.uvicorn.org/settings/: each option has a variable.
        UVICORN_ROOT_PATH: path,
        GRADIO_ROOT_PATH: path,
        DASH_REQUESTS_PATHNAME_PREFIX: `${path}/`,
        DASH_ROUTES_PATHNAME_PREFIX: '/',
      }
    : {
        STREAMLIT_SERVER_BASE_URL_PATH: path.slice(1),
        DASH_URL_BASE_PATHNAME: `${path}/`,
      };
}

/** Whether the framework of the plan reads one of the variables, or needs none. */
function isTold({ preset, start }: Plan): boolean {
  return preset === 'python' && start.kind === 'command' && /\b(uvicorn|streamlit)\b/.test(start.words.join(' '));
}

function warning({ path }: Route): string {
  return `the app is below ${path}: links of its pages to absolute paths, such as /assets/…, miss it. Give it a host of its own (no \`path\`), or set the base path of its framework`;
}
