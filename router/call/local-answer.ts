/** Answers of the router in place of an app, other than errors: whole ones, and streams that go on. */
import { STATUS_CODES } from 'node:http';
import type { Call } from './call.ts';
import { ResponseParser } from '../message/response-parser.ts';
import type { HttpDate } from '../message/http-date.ts';

export interface LocalAnswer {
  readonly status: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const maxFields = 32;

export class LocalAnswers {
  readonly #date: HttpDate;
  readonly #parser = new ResponseParser({ maxFields });

  constructor(date: HttpDate) {
    this.#date = date;
  }

  /** Sends a whole answer, which ends the call. */
  send(call: Call, { status, fields, body }: LocalAnswer): void {
    const bodiless = status === 204 || status === 304;
    this.#head(call, status, bodiless ? fields : { 'Content-Length': String(body.length), ...fields }, true);
    const { answer } = call.clientSide;
    if (!bodiless && call.head.method !== 'HEAD' && body.length > 0) answer.part(body, 0, body.length, false);
    answer.end(undefined);
    answer.flush();
    call.clientSide.answered();
  }

  /** Begins an answer that the caller goes on with: parts, end and `answered`. */
  begin(call: Call, status: number, fields: Readonly<Record<string, string>>): void {
    this.#head(call, status, fields, false);
  }

  /** Composes the head in the form of HTTP/1.1, which every client's side translates. */
  #head(call: Call, status: number, fields: Readonly<Record<string, string>>, hasLength: boolean): void {
    const lines = Object.entries({ ...fields, 'X-Request-Id': call.head.requestId }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const block = Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n`, 'latin1');
    this.#parser.begin(0);
    this.#parser.parse(block, block.length);
    call.status = status;
    call.clientSide.answer.head(call, block, this.#parser, { hasLength, date: this.#date.now() });
  }
}
