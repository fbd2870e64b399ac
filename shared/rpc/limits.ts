/** The limits of one link, and of one call by HTTP POST. All of them are configurable; docs/rpc.md lists them. */

export interface RpcLimits {
  /** A larger frame closes the link with 1009; a larger POST body is answered with 413. */
  readonly maxFrameBytes: number;
  /**
   * The other side may have this many calls in flight. Further calls are refused with too_many_calls, and a flood of
   * them closes the link.
   */
  readonly maxCallsInFlight: number;
  /** This many of our own calls may wait for an answer. Further calls are rejected with too_many_calls. */
  readonly maxPendingCalls: number;
  /** Bytes that may be waiting for the network. Above this the link is closed with send_buffer_full. */
  readonly maxSendBufferBytes: number;
  /** `emit` waits while more than this many bytes are unsent. */
  readonly emitHighWaterBytes: number;
  /** Interval between two WebSocket pings. */
  readonly heartbeatMs: number;
  /** The link is lost if nothing was heard for this long. */
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
