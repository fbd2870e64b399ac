/** Turns an answer of a builder that is not 200 into an error that `Builder.build` may throw. */
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { ErrorCode } from '../../../shared/error-codes.ts';
import { AppError } from '../../../shared/errors.ts';
import { parseJson } from '../../../shared/json.ts';
import { readBoundedText } from '../../../shared/net/read-bounded.ts';

const maxBytes = 65_536;

const problem = z.object({ code: z.string().optional(), detail: z.string().max(4_096).optional() });

/** Reads the body of the answer, as far as it is needed. */
export async function refusal(url: URL, response: IncomingMessage): Promise<AppError> {
  const status = response.statusCode ?? 0;
  const text = await readBoundedText(response, { maxBytes, what: 'the answer' }).catch(() => '');
  const detail = problem.safeParse(parseJson(text)).data?.detail;
  const said = `the builder ${url.host} answered ${String(status)}${detail === undefined ? '' : `: ${detail}`}`;
  const fail = (code: ErrorCode, message: string): AppError => {
    const seconds = Number(response.headers['retry-after']);
    const retryAfterMs = seconds > 0 ? seconds * 1_000 : undefined;
    return new AppError(code, message, { phase: 'build', retryAfterMs });
  };
  switch (status) {
    case 401:
      // Not builder_unavailable, which is tried again: a wrong token stays wrong.
      return fail('config_invalid', `${said}; check builder_auth_token of [builder]`);
    case 403:
      return fail('push_denied', said);
    case 413:
      return fail('source_invalid', said);
    case 400:
    case 422:
      return fail('config_invalid', said);
    default:
      // 503: its queue is full, or it drains; 404, 3xx: no builder is there. All of these may pass.
      return fail('builder_unavailable', said);
  }
}
