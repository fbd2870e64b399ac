/** Tokens by their values, for tests and benches. */
import type { Scope } from '../../shared/protocol/methods.ts';
import { tokenDigest } from '../../shared/config/sections.ts';
import { Tokens } from '../rpc/tokens.ts';

export function tokensOf(
  tokens: readonly { readonly name: string; readonly scopes: readonly Scope[]; readonly value: string }[],
): Tokens {
  return new Tokens(tokens.map(({ value, ...token }) => ({ ...token, digests: [tokenDigest(value)] })));
}
