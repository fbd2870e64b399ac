/** This agent as a candidate: takes the lead when it is elected, and gives it up when the lease is lost or Postgres says so. */
import { toAppError, type AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { DeclaredApp } from '../../shared/protocol/app-spec.ts';
import { aborted } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { retry } from '../../shared/wait/retry.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import type { AgentConfig } from '../config/config.ts';
import type { Election } from '../leader/election.ts';
import type { Platform } from '../platform/platform.ts';
import type { Addresses } from '../routes/addresses.ts';
import { notLeader } from '../rpc/admission.ts';
import type { Sources } from '../source/sources.ts';
import type { Engine } from '../versions/engine.ts';
import type { VersionMetrics } from '../versions/machine/machine-deps.ts';
import { takeLead, type Leadership } from './leadership.ts';
import type { Stores } from './stores.ts';

export interface LeaderDeps {
  readonly config: AgentConfig;
  readonly stores: Stores;
  readonly platform: Platform;
  readonly sources: Pick<Sources, 'resolve'>;
  readonly addresses: Pick<Addresses, 'route'>;
  readonly metrics: VersionMetrics;
  readonly election: Pick<Election, 'trouble'>;
  readonly clock: Clock;
  readonly log: Log;
}

const retryMs = 1_000;
/** Each declaration waits for the routers, so many of them wait together. */
const maxDeclaredAtOnce = 50;

export class Leader {
  readonly #deps: LeaderDeps;
  #current: Leadership | undefined;
  /** Why the lead could not be taken when this agent was elected. */
  #trouble: AppError | undefined;

  constructor(deps: LeaderDeps) {
    this.#deps = deps;
  }

  /** The parts of the leading agent; undefined on a standby. */
  get current(): Leadership | undefined {
    return this.#current;
  }

  /** Why nobody can lead, as far as this agent knows; undefined while it leads, and on a standby that could. */
  get trouble(): AppError | undefined {
    return this.#current ? undefined : (this.#trouble ?? this.#deps.election.trouble?.());
  }

  /** Why this agent does not lead. */
  whyNot(): AppError {
    return this.trouble ?? notLeader();
  }

  /** @throws AppError not_leader, platform_unavailable, store_unavailable */
  required(): Leadership {
    if (!this.#current) throw this.whyNot();
    return this.#current;
  }

  /**
   * Leads until `lost` aborts or a write is fenced.
   * @param onEnd called as soon as this agent no longer leads, before its work is ended.
   */
  async lead(lost: AbortSignal, onEnd: () => Promise<void>): Promise<void> {
    const fenced = new AbortController();
    const signal = AbortSignal.any([lost, fenced.signal]);
    const taken = await this.#take(signal, (error) => fenced.abort(error));
    if (!taken) return;
    this.#current = taken;
    // A declaration may wait for routers, and the end of the lead must not: so this is awaited last.
    const declaring = this.#declareConfigured(taken.engine, signal);
    await aborted(signal);
    const { message } = toAppError(signal.reason);
    this.#deps.log.info({ epoch: taken.epoch, reason: message }, 'no longer leads');
    this.#current = undefined;
    await onEnd();
    await taken.close();
    await declaring;
  }

  /** Retries until it has the lead. @returns undefined once the signal has aborted. @throws AppError config_invalid */
  async #take(signal: AbortSignal, onFenced: (error: AppError) => void): Promise<Leadership | undefined> {
    const { stores, clock, log } = this.#deps;
    const take = async (): Promise<Leadership> => {
      await stores.migrate();
      return await takeLead({ ...this.#deps, onFenced }, signal);
    };
    try {
      return await retry(take, {
        clock,
        signal,
        backoff: { minMs: retryMs, maxMs: retryMs },
        isPassing: (error) => toAppError(error).code !== 'config_invalid',
        onRetry: ({ error }) => {
          this.#trouble = toAppError(error);
          log.warn({ err: this.#trouble }, 'taking the lead failed; trying again');
        },
      });
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    } finally {
      this.#trouble = undefined;
    }
  }

  /** Declares the apps of the configuration. A failure of one app stops neither the others nor the agent. */
  async #declareConfigured(engine: Engine, signal: AbortSignal): Promise<void> {
    const { config, addresses, log } = this.#deps;
    const turns = new Semaphore({ places: maxDeclaredAtOnce });
    const declare = async (app: DeclaredApp): Promise<void> => {
      try {
        await turns.run({ signal }, () => engine.apply([addresses.route(app)], false, 'config'));
      } catch (error) {
        if (!signal.aborted)
          log.error({ err: toAppError(error), app: app.name }, 'an app of the configuration could not be declared');
      }
    };
    await Promise.all(config.app.map(declare));
  }
}
