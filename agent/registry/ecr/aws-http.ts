/** One POST or GET to an AWS service, tried again where it fails in passing, its refusals told by their code. */
import { request, type Dispatcher } from 'undici';
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import { reasonOf } from '../connection-error.ts';
import { isPassingStatus, retrying, type Attempt } from '../retry.ts';

export interface AwsCall {
  /** For messages: `Amazon ECR`. */
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
const maxBodyBytes = 1_048_576;

/**
 * @returns the body of the answer, 200.
 * @throws AppError image_denied (refused), registry_unavailable (away); cancelled by the signal.
 */
export async function callAws(deps: AwsHttpDeps, call: AwsCall, signal: AbortSignal): Promise<string> {
  const { clock, dispatcher } = deps;
  const { service, url, body, ...options } = call;
  const either = AbortSignal.any([signal, AbortSignal.timeout(budgetMs)]);

  async function attempt(): Promise<Attempt<string>> {
    try {
      const { statusCode, body: answer } = await request(url, {
        ...options,
        ...(body === undefined ? {} : { body }),
        dispatcher,
        signal: either,
      });
      let text = '';
      for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) {
        text += chunk;
        if (text.length > maxBodyBytes) throw new Error('its answer is too large');
      }
      if (statusCode === 200) return { done: text };
      const code = codeIn(text);
      const why = `it answered ${String(statusCode)}${code === undefined ? '' : ` ${code}`}`;
      if (isPassingStatus(statusCode) || /throttl|internal|unavailable/i.test(code ?? '')) {
        return { passing: { outcome: { error: away(service, why) } } };
      }
      throw new AppError('image_denied', `${service} gave no credentials: ${why}`, { phase: 'pull' });
    } catch (error) {
      if (error instanceof AppError || either.aborted) throw error;
      return { passing: { outcome: { error } } };
    }
  }

  try {
    return await retrying({ clock, budgetMs, signal: either }, attempt);
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (signal.aborted) throw new AppError('cancelled', `${service} was not waited for`, { cause: error });
    throw away(service, reasonOf(error, budgetMs), error);
  }
}

function away(service: string, why: string, cause?: unknown): AppError {
  const message = `${service} could not be asked for credentials: ${why}`;
  return new AppError('registry_unavailable', message, { phase: 'pull', cause });
}

/** `{"__type":"com.amazon…#ExpiredTokenException"}` or `<Code>ExpiredToken</Code>`; never the message, which may quote tokens. */
function codeIn(text: string): string | undefined {
  return /"__type"\s*:\s*"(?:[^"#]*#)?(\w{1,80})"|<Code>(\w{1,80})<\/Code>/.exec(text)?.slice(1).find(Boolean);
}
