/** What a waiting page shows. It is public: no log, no message of a platform, no name of an image or a host. */
import type { ErrorOwner } from '../../shared/error-codes.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Route } from '../../shared/protocol/routes.ts';

/** The state as the page gets it. `go`: the page reloads itself, because calls no longer wait. */
export type PageState =
  | (Shown & { readonly state: 'waits' })
  | (Shown & { readonly state: 'failed'; readonly status: number; readonly retryAfterSecs?: number })
  | { readonly state: 'go' };

interface Shown {
  /** Index of the current step: build, roll out, start. */
  readonly step: 0 | 1 | 2;
  readonly title: string;
  readonly text: string;
  readonly detail: string;
}

export interface ShownFailure {
  readonly code: string;
  readonly owner: ErrorOwner;
  readonly status: number;
  readonly retryAfterSecs?: number;
}

const title = 'The app is starting';

const steps: Readonly<Record<EnsureProgress['phase'], readonly [0 | 1 | 2, string]>> = {
  queued: [0, 'Waiting for its turn.'],
  source: [0, 'Fetching the source.'],
  build: [0, 'Building the image.'],
  pull: [1, 'Fetching the image.'],
  schedule: [1, 'Finding a place to run.'],
  start: [2, 'Waiting for its first answer.'],
  switch: [2, 'It answers; switching calls to it.'],
  ready: [2, 'It answers.'],
};

const owners: Readonly<Record<ErrorOwner, string>> = {
  caller: 'the caller',
  app: 'the owner of this app',
  platform: 'the operator of the platform',
  holdfast: 'Holdfast',
};

/** @param progress the progress of the live version, if it is known. */
export function waitingState(
  { serving }: Pick<Route, 'serving'>,
  progress: EnsureProgress | undefined,
  agentUp: boolean,
): PageState {
  if (serving.state === 'ready') return { state: 'go' };
  if (serving.state === 'failed') return failedState({ ...serving.failure, status: 502 });
  if (!agentUp) return waits(0, 'Waiting for the service that starts it.');
  if (progress === undefined) {
    return waits(0, serving.reason === 'updating' ? 'A new version is about to start.' : 'Waking it up.');
  }
  const [step, text] = steps[progress.phase];
  const { queue } = progress;
  return waits(
    step,
    queue === undefined ? text : `Waiting for a build: ${queue.position} of ${queue.of} in the queue.`,
  );
}

export function failedState({ code, owner, status, retryAfterSecs }: ShownFailure): PageState & { state: 'failed' } {
  const asleep = code === 'wake_budget_exhausted';
  return {
    state: 'failed',
    step: 0,
    title: asleep ? 'The app is asleep' : 'The app could not be started',
    text:
      retryAfterSecs === undefined
        ? 'It failed to start. Try again later.'
        : `It has used up its wake budget for this hour. Try again in ${duration(retryAfterSecs)}.`,
    detail: `Error code ${code}; to be fixed by ${owners[owner]}.`,
    status,
    ...(retryAfterSecs !== undefined && { retryAfterSecs }),
  };
}

function waits(step: 0 | 1 | 2, text: string): PageState {
  return { state: 'waits', step, title, text, detail: '' };
}

function duration(secs: number): string {
  if (secs < 120) return `${secs} seconds`;
  return `${Math.ceil(secs / 60)} minutes`;
}
