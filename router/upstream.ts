/**
 * Connections to one target: undici pools, and the care that a kept-alive socket needs.
 *
 * A pooled socket may be closed by the app at the moment a request is written to it, and then nobody knows whether the
 * request was worked on. So a request that must not be sent twice gets a socket that was used within the last second: no
 * server's idle timeout is that short, and when a pod is killed its FIN has long been read (undici looks at an idle
 * socket once more before it writes to it). Requests that may be sent twice take any socket younger than the common
 * five seconds of app servers, and are sent once more on a new connection where that fails.
 */
import { Client, Pool, type Dispatcher } from 'undici';

export interface UpstreamOptions {
  readonly connectTimeoutMs: number;
  /** From the last byte of the request to the head of the answer. */
  readonly headersTimeoutMs: number;
  readonly maxHeaderBytes: number;
}

/** `safe`: may be sent again · `unsafe`: must not · `fresh`: a connection of its own, for the second attempt. */
export type SocketUse = 'safe' | 'unsafe' | 'fresh';

/** A handler that learns which connection carries it. */
export interface ConnectionAware extends Dispatcher.DispatchHandler {
  connection: Connection | undefined;
}

/** One socket at a time; `uses` counts the requests on the present one. */
export interface Connection {
  uses: number;
}

const keepAliveMs: Readonly<Record<SocketUse, number>> = { safe: 4_000, unsafe: 1_000, fresh: 1 };

export class Upstream {
  readonly #origin: string;
  readonly #options: UpstreamOptions;
  #safe: Pool | undefined;
  #unsafe: Pool | undefined;

  constructor(address: { readonly host: string; readonly port: number }, options: UpstreamOptions) {
    this.#origin = `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    this.#options = options;
  }

  dispatch(use: SocketUse, request: Dispatcher.DispatchOptions, handler: ConnectionAware): void {
    switch (use) {
      case 'safe':
        (this.#safe ??= this.#pool(use)).dispatch(request, handler);
        return;
      case 'unsafe':
        (this.#unsafe ??= this.#pool(use)).dispatch(request, handler);
        return;
      case 'fresh': {
        const client = new CountingClient(this.#origin, this.#clientOptions(use));
        client.dispatch(request, handler);
        closeQuietly(client);
      }
    }
  }

  /** Idle sockets are closed now, the others after their call. */
  close(): void {
    if (this.#safe !== undefined) closeQuietly(this.#safe);
    if (this.#unsafe !== undefined) closeQuietly(this.#unsafe);
    this.#safe = undefined;
    this.#unsafe = undefined;
  }

  #pool(use: SocketUse): Pool {
    return new Pool(this.#origin, {
      ...this.#clientOptions(use),
      factory: (origin, options) => new CountingClient(origin, options),
    });
  }

  #clientOptions(use: SocketUse): Client.Options {
    return {
      connect: { timeout: this.#options.connectTimeoutMs, autoSelectFamily: false },
      headersTimeout: this.#options.headersTimeoutMs,
      // A stream of events may be silent for hours; the client's end, not a timer, ends it.
      bodyTimeout: 0,
      keepAliveTimeout: keepAliveMs[use],
      // What the app says of its own timeout shortens ours, and never lengthens it.
      keepAliveMaxTimeout: keepAliveMs[use],
      keepAliveTimeoutThreshold: 1_000,
      maxHeaderSize: this.#options.maxHeaderBytes,
      allowH2: false,
      pipelining: 1,
    };
  }
}

/** Tells each handler its connection, so that it knows whether the socket had been used before. */
class CountingClient extends Client implements Connection {
  uses = 0;

  constructor(origin: string | URL, options: Client.Options) {
    super(origin, options);
    this.on('connect', () => {
      this.uses = 0;
    });
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    (handler as ConnectionAware).connection = this;
    return super.dispatch(options, handler);
  }
}

function closeQuietly(dispatcher: Dispatcher): void {
  dispatcher.close(() => undefined);
}
