/** Hosts, as clients send them and as routes name them. */

const hostPattern = /^[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]*$/;

export function isHost(text: string): boolean {
  return hostPattern.test(text);
}

/** The host of a Host header as routes name it: lower case, without port and without a final dot. */
export function routeHost(header: string): string {
  let host = header;
  const colon = header.lastIndexOf(':');
  if (colon >= 0 && colon > header.lastIndexOf(']')) host = header.slice(0, colon);
  if (host.endsWith('.')) host = host.slice(0, -1);
  return host.toLowerCase();
}
