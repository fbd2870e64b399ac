/**
 * Calls that must not be sent twice, on connections that were idle: they go out at the end of the turn, when the end of a
 * connection that has come in it is seen. One immediate serves them all; what was parsed of their heads is kept until then.
 */
import type { RequestHead } from '../message/request-head.ts';

export interface LateStarter {
  start(): void;
}

export class LateStarts {
  #starters: LateStarter[] = [];
  #heads: RequestHead[] = [];

  add(starter: LateStarter, head: RequestHead): void {
    head.pin();
    this.#heads.push(head);
    if (this.#starters.push(starter) === 1) setImmediate(this.#run);
  }

  readonly #run = (): void => {
    const starters = this.#starters;
    const heads = this.#heads;
    this.#starters = [];
    this.#heads = [];
    for (let index = 0; index < starters.length; index += 1) {
      (starters[index] as LateStarter).start();
      (heads[index] as RequestHead).unpin();
    }
  };
}
