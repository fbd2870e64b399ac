/**
 * What Node has below its TCP sockets and does not document. Node is pinned, stream-binding.test.ts fails when a new one changes
 * what is named here, and SocketIo does without where it is missing.
 */

/** The handle of an open TCP socket, of `node:internal/stream_base_commons` and `node:net`. */
export interface TcpHandle {
  reading: boolean;
  onread: (this: TcpHandle, bytes: ArrayBuffer | undefined) => Uint8Array | undefined;
  /** @returns 0, or a negative errno. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  writev(request: WriteRequest, parts: readonly Uint8Array[], allBuffers: true): number;
  readStart(): number;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  /** Properties of ours from here on. */
  isTcp: boolean | undefined;
  reader: Reader | undefined;
  original: TcpHandle['onread'];
}

export interface WriteRequest {
  oncomplete: ((status: number) => void) | undefined;
  /** Bytes that must not be collected before the write is complete. */
  bytes: readonly (Uint8Array | undefined)[] | undefined;
}

export interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
}

/**
 * Gets the number of bytes read, which are in the buffer until it returns.
 * @returns a buffer for the next read, or undefined to read on in the same one.
 */
export type Reader = (count: number) => Buffer | undefined;

/** @returns undefined where this Node has no such binding, or another one. */
export function openStreamBinding(): StreamBinding | undefined {
  try {
    const found = (process as unknown as { binding(name: string): Partial<StreamBinding> }).binding('stream_wrap');
    const whole =
      typeof found.WriteWrap === 'function' &&
      found.streamBaseState !== undefined &&
      typeof found.kReadBytesOrError === 'number' &&
      typeof found.kLastWriteWasAsync === 'number';
    return whole ? (found as StreamBinding) : undefined;
  } catch {
    return undefined;
  }
}

export function handleOf(socket: object): TcpHandle | undefined {
  return (socket as { readonly _handle?: TcpHandle | null })._handle ?? undefined;
}
