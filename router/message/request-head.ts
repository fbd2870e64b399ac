/** The head of a request: what the router needs to know of it, and each of its fields on demand. */
import { isTraceparent, outerPrefixOf } from './forwarded.ts';
import { fieldStride } from './field-parser.ts';
import { isHost } from './host.ts';
import { Ids, uuidOf, type CallIds } from './ids.ts';
import { invalidRequest, KnownFields } from './known-fields.ts';
import { pathFault } from './path.ts';
import type { PeerIdentity } from './peer-identity.ts';
import { RequestParser } from './request-parser.ts';

/** Parsers of pinned heads that are kept for the next ones. */
const maxSpareParsers = 64;

/**
 * Makes the request heads of all connections. They share one parser, which keeps the offsets of the head that it parsed last:
 * a call that is sent at once is parsed once, and one that was held is parsed again when somebody asks for its fields.
 */
export class RequestHeads {
  readonly #ids = new Ids();
  readonly #known = new KnownFields();
  readonly #maxFields: number;
  readonly #spare: RequestParser[] = [];
  /** Shared by all connections. */
  parser: RequestParser;
  /** The head whose offsets `parser` has. */
  #parsed: RequestHead | undefined;

  constructor(limits: { readonly maxFields: number }) {
    this.#maxFields = limits.maxFields;
    this.parser = new RequestParser(limits);
  }

  /** @returns the shared parser, at the beginning of a head; valid until the next `begin` or `parsed`. */
  begin(): RequestParser {
    this.#parsed = undefined;
    this.parser.begin(0);
    return this.parser;
  }

  /**
   * @param parser has just parsed the head at the beginning of `bytes`.
   * @param bytes stay as they are as long as the head is used.
   * @throws AppError request_invalid for a request that two servers could understand differently.
   */
  read(parser: RequestParser, bytes: Buffer, peer: PeerIdentity): RequestHead {
    this.#known.read(parser, bytes, peer);
    const head = new RequestHead(this, parser, bytes, peer);
    if (parser === this.parser) this.#parsed = head;
    return head;
  }

  /** What the last `read` found. */
  get known(): KnownFields {
    return this.#known;
  }

  nextIds(): CallIds {
    return this.#ids.next();
  }

  parsed(head: RequestHead): RequestParser {
    if (this.#parsed !== head) {
      this.begin().parse(head.bytes, head.bytes.length);
      this.#parsed = head;
    }
    return this.parser;
  }

  /** @returns the parser that keeps this head from now on; undefined where another head was parsed after it. */
  takeOut(head: RequestHead): RequestParser | undefined {
    if (this.#parsed !== head) return undefined;
    const parser = this.parser;
    this.parser = this.#spare.pop() ?? new RequestParser({ maxFields: this.#maxFields });
    this.#parsed = undefined;
    return parser;
  }

  putBack(parser: RequestParser): void {
    if (this.#spare.length < maxSpareParsers) this.#spare.push(parser);
  }
}

export class RequestHead {
  /** The head, and perhaps more behind it. */
  readonly bytes: Buffer;
  readonly length: number;
  readonly peer: PeerIdentity;
  readonly method: string;
  /** Minor version of HTTP/1. */
  readonly minor: number;
  /** The host in the form in which the client sent it: that of an absolute-form target, or of the Host field. */
  readonly host: string;
  /** The host in the form in which routes name it. */
  readonly routeHost: string;
  /** Path and query, raw; `/` for `OPTIONS *`. */
  readonly path: string;
  /** The target is `*`, RFC 9112 §3.2.4. */
  readonly asterisk: boolean;
  /** The host is that of the target, and replaces the Host field. */
  readonly hostReplaced: boolean;
  /** The protocols it asks to switch to, as its Upgrade field names them. */
  readonly upgrade: string | undefined;
  readonly expectsContinue: boolean;
  /** The client wants the connection to stay open. */
  readonly keepAlive: boolean;
  /** 0 where there is none. */
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly ids: CallIds;
  /** The request id that a trusted proxy gave, which replaces the one in `ids`. */
  readonly givenId: string | undefined;
  /** A trusted proxy has begun a trace, which goes on. */
  readonly traced: boolean;
  /** The prefix that a trusted proxy has stripped from the path. */
  readonly outerPrefix: string;
  readonly #heads: RequestHeads;
  #pinned: RequestParser | undefined;

  constructor(heads: RequestHeads, parser: RequestParser, bytes: Buffer, peer: PeerIdentity) {
    const { framing, method, minor } = parser;
    const { host, expectsContinue, upgrade, requestId, outerPrefix, traceparent } = heads.known;
    // RFC 9112 §3.2.
    if (host === undefined && minor > 0) throw invalidRequest('no Host field');
    const target = bytes.toString('latin1', parser.targetStart, parser.targetEnd);
    const contentLength = Math.max(0, framing.contentLength);
    this.bytes = bytes;
    this.length = parser.end;
    this.peer = peer;
    this.method = method;
    this.minor = minor;
    if (target.charCodeAt(0) === 0x2f) {
      this.host = host ?? '';
      this.path = target;
      this.asterisk = false;
      this.hostReplaced = false;
    } else {
      // A Host field that is replaced must be valid nevertheless.
      peer.routeHost(host ?? '');
      const other = otherTarget(target, method);
      this.host = other.host ?? host ?? '';
      this.path = other.path;
      this.asterisk = other.asterisk;
      this.hostReplaced = other.host !== undefined;
    }
    this.routeHost = peer.routeHost(this.host);
    const fault = pathFault(this.path);
    if (fault !== undefined) throw invalidRequest(fault);
    this.upgrade = upgrade !== undefined && isUpgrade(parser, upgrade) ? upgrade : undefined;
    this.expectsContinue = expectsContinue && (framing.chunked || contentLength > 0);
    this.keepAlive = minor > 0 ? !framing.close : framing.keepAlive && !framing.close;
    this.contentLength = contentLength;
    this.chunked = framing.chunked;
    this.ids = heads.nextIds();
    this.givenId = requestId !== undefined && isId(requestId) ? requestId : undefined;
    this.traced = traceparent !== undefined && isTraceparent(traceparent);
    this.outerPrefix = outerPrefix === undefined ? '' : outerPrefixOf(outerPrefix);
    this.#heads = heads;
  }

  get hasBody(): boolean {
    return this.chunked || this.contentLength > 0;
  }

  get requestId(): string {
    return this.givenId ?? uuidOf(this.ids);
  }

  /** The value of the fields of this name, joined by commas (RFC 9110 §5.3). @param name in lower case. */
  field(name: string): string | undefined {
    const { fields } = this.parsed();
    let found: string | undefined;
    for (let index = 0, base = 0; index < fields.count; index += 1, base += fieldStride) {
      if (!fields.isNamed(this.bytes, base, name)) continue;
      const value = fields.valueAt(this.bytes, base);
      found = found === undefined ? value : `${found}, ${value}`;
    }
    return found;
  }

  /** The value of the first field of this name. @param name in lower case. */
  firstField(name: string): string | undefined {
    const { fields } = this.parsed();
    for (let index = 0, base = 0; index < fields.count; index += 1, base += fieldStride) {
      if (fields.isNamed(this.bytes, base, name)) return fields.valueAt(this.bytes, base);
    }
    return undefined;
  }

  /** The parser with this head in it, until any other head is parsed. */
  parsed(): RequestParser {
    return this.#pinned ?? this.#heads.parsed(this);
  }

  /** Keeps what was parsed while other heads are parsed, until `unpin`. */
  pin(): void {
    this.#pinned = this.#heads.takeOut(this);
  }

  unpin(): void {
    if (this.#pinned !== undefined) this.#heads.putBack(this.#pinned);
    this.#pinned = undefined;
  }
}

/**
 * Whether to treat a request as an upgrade. HTTP/2 over cleartext (`h2c`) is not offered, and a request with a body is
 * forwarded without its Upgrade: the server may ignore the field, RFC 9110 §7.8.
 */
function isUpgrade({ framing, minor }: RequestParser, upgrade: string): boolean {
  if (upgrade === '' || !framing.upgrade || minor === 0) return false;
  if (framing.chunked || framing.contentLength > 0) return false;
  return !/(^|,)\s*h2c\s*(,|$)/i.test(upgrade);
}

/** A target in absolute-form, whose authority replaces Host (RFC 9112 §3.2.2), or the asterisk. */
function otherTarget(
  target: string,
  method: string,
): { readonly host: string | undefined; readonly path: string; readonly asterisk: boolean } {
  if (target === '*' && method === 'OPTIONS') return { host: undefined, path: '/', asterisk: true };
  const absolute = /^https?:\/\/([^/?#@]+)([/?][^#]*)?$/i.exec(target);
  const authority = absolute?.[1];
  if (authority === undefined || !isHost(authority)) throw invalidRequest('the request target has no path');
  const rest = absolute?.[2] ?? '';
  // RFC 9112 §3.2.4: without path and query, OPTIONS asks about the whole server.
  if (rest === '' && method === 'OPTIONS') return { host: authority, path: '/', asterisk: true };
  return { host: authority, path: rest.startsWith('/') ? rest : `/${rest}`, asterisk: false };
}

function isId(text: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(text);
}
