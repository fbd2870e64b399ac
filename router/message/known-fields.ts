/** The fields of a request that the router acts on before it sends the request anywhere. */
import { AppError } from '../../shared/errors.ts';
import { Field } from './field-names.ts';
import { fieldStride } from './field-parser.ts';
import type { PeerIdentity } from './peer-identity.ts';
import type { RequestParser } from './request-parser.ts';

/** Filled by one `read` after the other, so that a request allocates none. */
export class KnownFields {
  host: string | undefined;
  expectsContinue = false;
  /** The values of Upgrade, joined. */
  upgrade: string | undefined;
  /** What a trusted proxy said; `''` where it said different things. */
  requestId: string | undefined;
  outerPrefix: string | undefined;
  traceparent: string | undefined;

  /**
   * @param parser has parsed the head in `bytes`.
   * @throws AppError request_invalid for two Host fields, or an unknown expectation.
   */
  read({ fields, minor }: RequestParser, bytes: Buffer, peer: PeerIdentity): void {
    this.host = undefined;
    this.expectsContinue = false;
    this.upgrade = undefined;
    this.requestId = undefined;
    this.outerPrefix = undefined;
    this.traceparent = undefined;
    const { at, count } = fields;
    for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
      switch (at[base + 4] as number) {
        case Field.host:
          if (this.host !== undefined) throw invalidRequest('more than one Host field');
          this.host = peer.hostOf(bytes, at[base + 2] as number, at[base + 3] as number);
          break;
        case Field.expect:
          // Answered by the router when the call goes to the app; RFC 9110 §10.1.1.
          if (fields.valueAt(bytes, base).toLowerCase() !== '100-continue') {
            throw invalidRequest('an unknown expectation');
          }
          this.expectsContinue = minor > 0;
          break;
        case Field.upgrade: {
          const value = fields.valueAt(bytes, base);
          this.upgrade = this.upgrade === undefined ? value : `${this.upgrade}, ${value}`;
          break;
        }
        case Field.forwarding:
          if (!peer.trusted) break;
          if (fields.isNamed(bytes, base, 'x-request-id')) {
            this.requestId = agreed(this.requestId, fields.valueAt(bytes, base));
          } else if (fields.isNamed(bytes, base, 'x-forwarded-prefix')) {
            this.outerPrefix = agreed(this.outerPrefix, fields.valueAt(bytes, base));
          }
          break;
        case Field.trace:
          if (peer.trusted && fields.isNamed(bytes, base, 'traceparent')) {
            this.traceparent = this.traceparent === undefined ? fields.valueAt(bytes, base) : '';
          }
          break;
        default:
          break;
      }
    }
  }
}

export function invalidRequest(what: string): AppError {
  return new AppError('request_invalid', `The request is refused: ${what}.`);
}

/** The value that all fields of a name have; `''` where they differ. */
function agreed(before: string | undefined, value: string): string {
  return before === undefined || before === value ? value : '';
}
