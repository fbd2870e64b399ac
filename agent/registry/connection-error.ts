/** Why a connection to a registry failed, in words that name the setting to change. */

/** @returns what is wrong with certificates or TLS, which trying again does not help; undefined for every other error. */
export function tlsProblem(error: unknown): string | undefined {
  const code = codeOf(error);
  if (code === undefined) return undefined;
  if (untrusted.has(code))
    return 'its certificate is signed by an authority that is unknown here: name its file in ca_file of [registry] or of its [[registries]]';
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return 'its certificate is not valid at this time';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another host name';
  if (/ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA)$|HANDSHAKE_FAILURE$/.test(code)) {
    return 'it does not accept the client certificate: see [registry] client_cert_file and client_key_file';
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code))
    return 'it does not speak TLS: see insecure of [registry], or declare it in [[registries]] with insecure = true';
  return undefined;
}

const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** @returns the reason in words, whatever was thrown. */
export function reasonOf(error: unknown, budgetMs: number): string {
  const tls = tlsProblem(error);
  if (tls !== undefined) return tls;
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${String(budgetMs / 1_000)} s`;
  // With TLS 1.3 a server that misses the client's certificate closes after the handshake, often without saying why.
  if (codeOf(error) === 'UND_ERR_SOCKET') return `${error.message} (does it want a client certificate?)`;
  // An error that joins those of several addresses has no message of its own.
  return error.message === '' ? (codeOf(error) ?? error.name) : error.message;
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
