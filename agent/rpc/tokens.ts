/** Maps bearer tokens to identities. Only digests are kept, and a name may have two values while one replaces the other. */
import { timingSafeEqual } from 'node:crypto';
import { tokenDigest } from '../../shared/config/sections.ts';
import { AppError } from '../../shared/errors.ts';
import type { Scope } from '../../shared/protocol/methods.ts';
import type { TokenView } from '../../shared/protocol/views.ts';
import type { Identity } from '../../shared/rpc/types.ts';

export interface RpcToken {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** SHA-256 of each value, in hex. */
  readonly digests: readonly string[];
  /** ISO 8601; from then on the token is refused. */
  readonly expires?: string | undefined;
}

/** A caller that presented a known token. */
export interface TokenHolder {
  readonly identity: Identity;
  /** Whether the token still counts. */
  readonly isValid: () => boolean;
}

interface Value {
  readonly digest: Buffer;
  readonly identity: Identity;
  readonly expiresMs: number;
}

export class Tokens {
  readonly #wallMs: () => number;
  #tokens: readonly RpcToken[] = [];
  #values: readonly Value[] = [];
  readonly #lastUsedMs = new Map<string, number>();

  /** @throws AppError config_invalid as `replace` */
  constructor(tokens: readonly RpcToken[], wallMs: () => number = Date.now) {
    this.#wallMs = wallMs;
    this.replace(tokens);
  }

  /** Takes other tokens from now on. @throws AppError config_invalid for a token without a value, or with an empty one, which anyone could send. */
  replace(tokens: readonly RpcToken[]): void {
    const empty = tokenDigest('');
    this.#values = tokens.flatMap(({ name, scopes, digests, expires }) => {
      if (digests.length === 0 || digests.includes(empty))
        throw new AppError('config_invalid', `token ${name} is empty`);
      const identity: Identity = { name, scopes, expires };
      const expiresMs = expires === undefined ? Infinity : Date.parse(expires);
      return digests.map((digest) => ({ digest: Buffer.from(digest, 'hex'), identity, expiresMs }));
    });
    this.#tokens = tokens;
  }

  /**
   * Compares digests, so that lengths do not matter, and always compares with all of them, so that the time taken reveals nothing about the
   * tokens. @param authorization the value of the header. @returns undefined if there is no token, or an unknown or expired one.
   */
  check(authorization: string | undefined): TokenHolder | undefined {
    // RFC 6750 §2.1; the scheme is case-insensitive, RFC 9110 §11.1.
    const presented = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (presented === undefined) return undefined;
    const digest = Buffer.from(tokenDigest(presented), 'hex');
    const identity = this.#find(digest);
    if (identity === undefined) return undefined;
    this.#lastUsedMs.set(identity.name, this.#wallMs());
    return { identity, isValid: () => this.#find(digest)?.name === identity.name };
  }

  /** What may be told of the tokens; not their values. */
  get views(): TokenView[] {
    return this.#tokens.map(({ name, scopes, digests, expires = null }) => {
      const lastUsedMs = this.#lastUsedMs.get(name);
      return {
        name,
        scopes: [...scopes],
        values: digests.length,
        expires,
        lastUsedAt: lastUsedMs === undefined ? null : new Date(lastUsedMs).toISOString(),
      };
    });
  }

  #find(digest: Buffer): Identity | undefined {
    const nowMs = this.#wallMs();
    let found: Value | undefined;
    for (const value of this.#values) if (timingSafeEqual(value.digest, digest)) found = value;
    return found === undefined || found.expiresMs <= nowMs ? undefined : found.identity;
  }
}
