/** Bounds of one link, and of one call by HTTP POST. Every one can be set; docs/rpc.md lists them. */

export interface RpcLimits {
  /** A frame (or POST body) over this closes the link with 1009 (413). */
  readonly maxFrameBytes: number;
  /** Calls of the other side that may be in flight; one more is answered with too_many_calls, a flood closes the link. */
  readonly maxCallsInFlight: number;
  /** Own calls that may wait for an answer; one more is rejected with too_many_calls. */
  readonly maxPendingCalls: number;
  /** Bytes not yet taken by the network; above it the link is closed with send_buffer_full. */
  readonly maxSendBufferBytes: number;
  /** Above this many unsent bytes `emit` waits. */
  readonly emitHighWaterBytes: number;
  /** A WebSocket ping is sent this often. */
  readonly heartbeatMs: number;
  /** Nothing heard for so long: the link is lost. */
  readonly leaseMs: number;
}

export const defaultLimits: RpcLimits = {
  maxFrameBytes: 4 * 1024 * 1024,
  maxCallsInFlight: 256,
  maxPendingCalls: 1_024,
  maxSendBufferBytes: 16 * 1024 * 1024,
  emitHighWaterBytes: 256 * 1024,
  heartbeatMs: 2_000,
  leaseMs: 10_000,
};
