/**
 * Calls that must not be sent twice, on connections that were idle: they go out at the end of the turn, when the end of a
 * connection that has come in it is seen. One immediate for all; what was parsed of their heads is kept until then.
 */
import type { RequestHead } from '../message/request-head.ts';
import { RequestParser } from '../message/request-parser.ts';

export interface LateStarter {
  /** @param parsed holds the head of its call, if given, until this returns. */
  start(parsed: RequestParser | undefined): void;
}

const maxSpare = 64;

export class LateStarts {
  readonly #parser: RequestParser;
  readonly #maxFields: number;
  #starters: LateStarter[] = [];
  #parsed: (RequestParser | undefined)[] = [];
  readonly #spare: RequestParser[] = [];

  /** @param parser that all connections share. */
  constructor(parser: RequestParser, maxFields: number) {
    this.#parser = parser;
    this.#maxFields = maxFields;
  }

  add(starter: LateStarter, head: RequestHead): void {
    let kept: RequestParser | undefined;
    if (this.#parser.parsed === head) {
      kept = this.#spare.pop() ?? new RequestParser({ maxFields: this.#maxFields });
      this.#parser.moveTo(kept);
    }
    this.#parsed.push(kept);
    if (this.#starters.push(starter) === 1) setImmediate(this.#run);
  }

  readonly #run = (): void => {
    const starters = this.#starters;
    const parsed = this.#parsed;
    this.#starters = [];
    this.#parsed = [];
    for (let index = 0; index < starters.length; index += 1) {
      const kept = parsed[index];
      (starters[index] as LateStarter).start(kept);
      if (kept !== undefined && this.#spare.length < maxSpare) this.#spare.push(kept);
    }
  };
}
