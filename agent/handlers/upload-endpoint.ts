/** `PUT /sources/<archive>/<part>`: receives one part of an upload after `sources.begin`. */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';
import { sendProblem } from '../../shared/problem.ts';
import { mayCall } from '../../shared/rpc/dispatch.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import type { HttpEndpoint } from '../rpc/endpoint.ts';
import { partCount, type Upload, type UploadStore } from '../store/upload-store.ts';

/** Each part is in memory as a whole. */
const maxPartsAtOnce = 32;
const pathPattern = /^\/sources\/([0-9a-f]{64})\/(0|[1-9]\d{0,5})$/;

export function createUploadEndpoint({
  store,
  onDenied,
}: {
  readonly store: Pick<UploadStore, 'get' | 'put'>;
  /** Called for a token without the right to upload. */
  readonly onDenied: (request: IncomingMessage, error: AppError, token: string) => void;
}): HttpEndpoint {
  const places = new Semaphore({ places: maxPartsAtOnce });

  async function take(request: IncomingMessage, archive: string, part: number): Promise<void> {
    const upload = await store.get(archive);
    if (upload === undefined)
      throw new AppError('upload_incomplete', 'this upload does not exist: call sources.begin first');
    const data = await readPart(request, partLength(upload, part));
    await store.put(archive, part, data);
  }

  return {
    path: '/sources',
    async handle(request, response, admit) {
      const { name, scopes } = admit();
      if (!mayCall(scopes, ['deploy'])) {
        const error = new AppError('forbidden', `token ${name} lacks the scope deploy, which uploads need`);
        onDenied(request, error, name);
        throw error;
      }
      const [, archive = '', part = ''] = pathPattern.exec(request.url ?? '') ?? [];
      if (archive === '') throw new AppError('method_not_found', 'parts of uploads go to /sources/<archive>/<part>');
      if (request.method !== 'PUT') {
        const error = new AppError('invalid_request', 'parts of uploads need the method PUT');
        sendProblem(response, error, { status: 405, headers: { Allow: 'PUT', Connection: 'close' } });
        return;
      }
      using place = places.tryAcquire();
      if (place === undefined)
        throw new AppError('too_many_calls', `${maxPartsAtOnce} parts are being received already`, {
          retryAfterMs: 1_000,
        });
      await take(request, archive, Number(part));
      response.writeHead(204).end();
    },
  };
}

/** @throws AppError invalid_request */
function partLength(upload: Upload, part: number): number {
  if (part >= partCount(upload)) throw new AppError('invalid_request', `the upload has ${partCount(upload)} parts`);
  return Math.min(upload.partBytes, upload.bytes - part * upload.partBytes);
}

/** @throws AppError invalid_request unless the body has exactly this length. */
async function readPart(request: IncomingMessage, length: number): Promise<Buffer> {
  if (request.headers['content-length'] !== String(length))
    throw new AppError('invalid_request', `Content-Length must be ${length}, the size of this part`);
  const data = Buffer.allocUnsafe(length);
  let at = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) at += chunk.copy(data, at);
  } catch (error) {
    throw new AppError('cancelled', 'the client left', { cause: error });
  }
  // Node enforces Content-Length, so a shorter body is an error above.
  if (at !== length) throw new AppError('invalid_request', `received ${at} of ${length} bytes`);
  return data;
}
