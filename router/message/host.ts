/** Hosts in the form that clients send, and in the form that routes use. */

const hostPattern = /^[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]*$/;

export function isHost(text: string): boolean {
  return hostPattern.test(text);
}

/** @param header value of a Host field. @returns the host as routes name it: in lower case, without port and final dot. */
export function routeHost(header: string): string {
  let host = header;
  const colon = header.lastIndexOf(':');
  if (colon >= 0 && colon > header.lastIndexOf(']')) host = header.slice(0, colon);
  if (host.endsWith('.')) host = host.slice(0, -1);
  return host.toLowerCase();
}
