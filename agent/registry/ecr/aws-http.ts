/** One request to an AWS service: tried again while a failure may pass; refusals become errors with AWS's code. */
import { request, type Dispatcher } from 'undici';
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import { readBoundedText } from '../../../shared/net/read-bounded.ts';
import { retry } from '../../../shared/wait/retry.ts';
import { reasonOf } from '../connection-error.ts';
import { isPassingStatus, retryPolicy } from '../retry.ts';

export interface AwsCall {
  /** The name in messages, as in `Amazon ECR`. */
  readonly service: string;
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface AwsHttpDeps {
  readonly clock: Clock;
  readonly dispatcher: Dispatcher;
}

const budgetMs = 10_000;
const bodyBound = { maxBytes: 1_048_576, what: 'its answer', tooLarge: (message: string) => new Error(message) };

/**
 * @returns the body of an answer 200.
 * @throws AppError image_denied if AWS refuses, registry_unavailable if it cannot be reached; cancelled by the signal.
 */
export async function callAws(deps: AwsHttpDeps, call: AwsCall, signal: AbortSignal): Promise<string> {
  const { clock, dispatcher } = deps;
  const { service, url, body, ...options } = call;
  const either = AbortSignal.any([signal, AbortSignal.timeout(budgetMs)]);

  async function attempt(): Promise<string> {
    const response = await request(url, {
      ...options,
      ...(body === undefined ? {} : { body }),
      dispatcher,
      signal: either,
    });
    const text = await readBoundedText(response.body, bodyBound);
    if (response.statusCode === 200) return text;
    const code = codeIn(text);
    const why = `it answered ${String(response.statusCode)}${code === undefined ? '' : ` ${code}`}`;
    if (isPassingStatus(response.statusCode) || /throttl|internal|unavailable/i.test(code ?? '')) {
      throw away(service, why);
    }
    throw new AppError('image_denied', `${service} gave no credentials: ${why}`, { phase: 'pull' });
  }

  try {
    return await retry(attempt, {
      ...retryPolicy,
      clock,
      signal: either,
      deadlineMs: budgetMs,
      isPassing: (error) => !(error instanceof AppError) || error.code === 'registry_unavailable',
    });
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (signal.aborted) throw new AppError('cancelled', `${service} was not waited for`, { cause: error });
    throw away(service, reasonOf(error, budgetMs), error);
  }
}

function away(service: string, why: string, cause?: unknown): AppError {
  const message = `could not ask ${service} for credentials: ${why}`;
  return new AppError('registry_unavailable', message, { phase: 'pull', cause });
}

/** `{"__type":"com.amazon…#ExpiredTokenException"}` or `<Code>ExpiredToken</Code>`; not the message, which may quote tokens. */
function codeIn(text: string): string | undefined {
  return /"__type"\s*:\s*"(?:[^"#]*#)?(\w{1,80})"|<Code>(\w{1,80})<\/Code>/.exec(text)?.slice(1).find(Boolean);
}
