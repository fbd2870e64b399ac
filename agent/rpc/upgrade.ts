/** WebSocket links: the handshake, its refusals, and the peers that are up. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { ErrorCode } from '../../shared/error-codes.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { rpcPath, subprotocol, type MethodTable } from '../../shared/protocol/methods.ts';
import { rawAnswer, toProblem, type ProblemOptions } from '../../shared/problem.ts';
import type { RpcLimits } from '../../shared/rpc/limits.ts';
import { createPeer, type PeerOptions } from '../../shared/rpc/peer.ts';
import type { Identity, Peer } from '../../shared/rpc/types.ts';
import { onAbort } from '../../shared/wait/abort.ts';
import type { Admit } from './admission.ts';
import type { HostCheck } from './own-host.ts';

/** RFC 6455 §7.4.1 and the registry of close codes: 1001 going away, 1008 policy violation, 1012 service restart. */
const goingAway = 1_001;
const serviceRestart = 1_012;
const policyViolation = 1_008;

interface LinksDeps<Local extends MethodTable, Remote extends MethodTable> {
  readonly peer: Omit<PeerOptions<Local, Remote>, 'socket' | 'identity'>;
  readonly limits: Pick<RpcLimits, 'maxFrameBytes'>;
  /** The limits of links that are no router's. */
  readonly callerLimits: Partial<RpcLimits>;
  readonly admit: Admit;
  readonly checkHost: HostCheck;
  readonly log: Log;
  readonly onPeer: (peer: Peer<Remote>, identity: Identity) => void;
}

export function createLinks<Local extends MethodTable, Remote extends MethodTable>(deps: LinksDeps<Local, Remote>) {
  const { admit, log } = deps;
  /** Each link, and whether its token still counts. */
  const peers = new Map<Peer<Remote>, () => boolean>();
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: deps.limits.maxFrameBytes,
    // Compression costs memory per link, and a small frame could grow to a large one.
    perMessageDeflate: false,
    handleProtocols: () => subprotocol,
  });
  // A handshake that ws itself refuses (bad key or version): with this listener, ws does not answer.
  webSockets.on('wsClientError', (error, socket) => {
    log.info({ err: error }, 'a WebSocket handshake was refused');
    refuse(socket, new AppError('invalid_request', error.message), {});
  });

  function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Until ws listens, an unhandled error of the socket would end the process.
    socket.on('error', () => socket.destroy());
    try {
      deps.checkHost(request);
      checkHandshake(request);
      const { identity, isValid, leave } = admit(request);
      socket.once('close', leave);
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        const limits = identity.scopes.includes('router') ? deps.peer.limits : deps.callerLimits;
        const peer = createPeer({ ...deps.peer, ...(limits && { limits }), socket: webSocket, identity });
        peers.set(peer, isValid);
        onAbort(peer.closed, () => peers.delete(peer));
        log.info({ caller: identity.name, peers: peers.size }, 'a link is up');
        deps.onPeer(peer, identity);
      });
    } catch (thrown) {
      const error = toAppError(thrown);
      log.info({ code: error.code, remote: request.socket.remoteAddress }, 'a link was refused');
      refuse(socket, error, error.code === 'method_not_found' ? { status: 404 } : {});
    }
  }

  async function closeAll(code: number, reason: string): Promise<void> {
    await Promise.all([...peers.keys()].map((peer) => peer.close(code, reason)));
  }

  return {
    /** The listener for the event `upgrade` of the HTTP server. */
    upgrade,
    /** Ends the links whose token was withdrawn or has expired. */
    endInvalid(): void {
      for (const [peer, isValid] of peers) if (!isValid()) void peer.close(policyViolation, 'unauthenticated');
    },
    drop: (reason: ErrorCode) => closeAll(serviceRestart, reason),
    close: () => closeAll(goingAway, 'shutdown'),
  };
}

function checkHandshake(request: IncomingMessage): void {
  const path = request.url?.split('?', 1)[0];
  if (path !== rpcPath) throw new AppError('method_not_found', `the RPC endpoint is ${rpcPath}`);
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (!offered.includes(subprotocol)) {
    throw new AppError('invalid_request', `the WebSocket subprotocol must be ${subprotocol}`);
  }
}

/** Destroys the socket once the answer is sent: a client that does not close its side would otherwise keep it. */
function refuse(socket: Duplex, error: AppError, options: ProblemOptions): void {
  socket.once('finish', () => socket.destroy());
  socket.end(rawAnswer(toProblem(error, { ...options, headers: { Connection: 'close' } })));
}
