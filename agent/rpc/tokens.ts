/** Maps bearer tokens to identities. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { AppError } from '../../shared/errors.ts';
import type { Scope } from '../../shared/protocol/methods.ts';
import type { Identity } from '../../shared/rpc/types.ts';

export interface RpcToken {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly value: string;
}

/** @param authorization the value of the header. @returns undefined if there is no token, or an unknown one. */
export type TokenCheck = (authorization: string | undefined) => Identity | undefined;

/**
 * Compares digests, so that lengths do not matter, and always compares with all of them, so that the time taken reveals nothing about the
 * tokens. @throws AppError config_invalid for an empty token, which anyone could send.
 */
export function createTokenCheck(tokens: readonly RpcToken[]): TokenCheck {
  const known = tokens.map(({ name, scopes, value }) => {
    if (value === '') throw new AppError('config_invalid', `token ${name} is empty`);
    return { digest: sha256(value), identity: { name, scopes } };
  });
  return (authorization) => {
    // RFC 6750 §2.1; the scheme is case-insensitive, RFC 9110 §11.1.
    const presented = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (presented === undefined) return undefined;
    const digest = sha256(presented);
    let identity: Identity | undefined;
    for (const token of known) {
      if (timingSafeEqual(token.digest, digest)) identity = token.identity;
    }
    return identity;
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
