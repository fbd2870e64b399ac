/** Receives a build: its description, and its context, which goes to a file. */
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { buildMeta, filePart, maxMetaBytes, metaPart, type BuildMeta } from '../shared/protocol/builder-wire.ts';
import { AppError } from '../shared/errors.ts';
import { bounded, readBoundedText } from '../shared/net/read-bounded.ts';
import { boundaryOf, readParts } from './multipart.ts';
import { reservedSecret } from './tool.ts';

export interface IntakeOptions {
  /** The file for the context. */
  readonly archive: string;
  /** Bound of the packed context. */
  readonly maxContextBytes: number;
  /** Prefixes that images must have, in whole path segments. If there are none, all images are allowed. */
  readonly destinations: readonly string[];
  readonly signal: AbortSignal;
}

/** @throws AppError invalid_request, forbidden (destination), source_invalid (too large); the signal's reason. */
export async function receiveBuild(request: IncomingMessage, options: IntakeOptions): Promise<BuildMeta> {
  const { archive, maxContextBytes, destinations, signal } = options;
  const boundary = boundaryOf(request.headers['content-type']);
  let meta: BuildMeta | undefined;
  let hasFile = false;
  // A request whose body is refused must stay open for the answer.
  const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  for await (const { name, content } of readParts(body, boundary)) {
    if (name === metaPart && meta === undefined) {
      const bound = { maxBytes: maxMetaBytes, what: `the part ${metaPart}`, tooLarge: refuseSize };
      meta = parseMeta(await readBoundedText(content, bound));
      if (!isAllowed(meta.image, destinations)) {
        throw new AppError('forbidden', `this builder does not push to ${meta.image} (--allow-destination)`);
      }
    } else if (name === filePart && meta !== undefined && !hasFile) {
      hasFile = true;
      const bound = { maxBytes: maxContextBytes, what: 'the context', tooLarge: refuseContext };
      const file = createWriteStream(archive, { flags: 'wx', mode: 0o600 });
      await pipeline(bounded(content, bound), file, { signal });
    } else {
      throw new AppError('invalid_request', `the body must be the parts ${metaPart} and ${filePart}, in this order`);
    }
  }
  if (meta === undefined || !hasFile) {
    throw new AppError('invalid_request', `the part ${meta === undefined ? metaPart : filePart} is missing`);
  }
  return meta;
}

function parseMeta(text: string): BuildMeta {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message is left out: it quotes the input, which has secrets.
    throw new AppError('invalid_request', `the part ${metaPart} is not JSON`);
  }
  const { data, error } = buildMeta.safeParse(json);
  if (data === undefined) {
    const [issue] = error?.issues ?? [];
    const message = `${metaPart}.${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'is not valid'}`;
    throw new AppError('invalid_request', message);
  }
  const reserved = reservedSecret(data);
  if (reserved !== undefined) {
    const message = `a secret build argument cannot be named ${reserved}: the programs of the build read that variable`;
    throw new AppError('invalid_request', message);
  }
  return data;
}

export function isAllowed(image: string, destinations: readonly string[]): boolean {
  if (destinations.length === 0) return true;
  return destinations.some((prefix) => {
    const bare = prefix.replace(/\/+$/, '');
    return image.startsWith(bare) && /^[/:]/.test(image.slice(bare.length));
  });
}

function refuseSize(message: string): AppError {
  return new AppError('source_invalid', message);
}

function refuseContext(message: string): AppError {
  return refuseSize(`${message} (--max-context-bytes)`);
}
