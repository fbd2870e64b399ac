/** Parses image references as users write them. */
import { AppError } from '../../shared/errors.ts';

export interface ImageReference {
  /** `host[:port]` of the registry; `docker.io` if the reference names none. */
  readonly host: string;
  readonly repository: string;
  /** `latest` if the reference has none. */
  readonly tag: string;
  readonly digest: string | undefined;
}

// https://github.com/distribution/reference: the grammar of references.
const component = '[a-z0-9]+(?:(?:\\.|_{1,2}|-+)[a-z0-9]+)*';
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const hostPattern =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d{1,5})?$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;
const maxRepositoryLength = 255;

/** @throws AppError image_invalid. */
export function parseImage(image: string): ImageReference {
  const refuse = (why: string): never => {
    throw new AppError('image_invalid', `image ${image}: ${why}`, { phase: 'pull' });
  };
  const at = image.indexOf('@');
  const digest = at < 0 ? undefined : image.slice(at + 1);
  if (digest !== undefined && !digestPattern.test(digest)) refuse('the digest must be sha256: and 64 hex digits');
  const named = at < 0 ? image : image.slice(0, at);

  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  // As Docker does: the first part is a host if it cannot be a name on Docker Hub.
  const hasHost = first.includes('.') || first.includes(':') || first === 'localhost' || first !== first.toLowerCase();
  const written = hasHost ? first.toLowerCase() : 'docker.io';
  const host = written === 'index.docker.io' ? 'docker.io' : written;
  if (!hostPattern.test(host)) refuse('the registry host is not valid');
  const path = hasHost ? named.slice(slash + 1) : named;

  const colon = path.indexOf(':', path.lastIndexOf('/') + 1);
  const tag = colon < 0 ? 'latest' : path.slice(colon + 1);
  if (!tagPattern.test(tag)) refuse('the tag is not valid');
  const short = colon < 0 ? path : path.slice(0, colon);
  const repository = host === 'docker.io' && !short.includes('/') ? `library/${short}` : short;
  if (repository.length > maxRepositoryLength || !repositoryPattern.test(repository)) {
    refuse('the name must be lower case letters, digits and separators');
  }
  return { host, repository, tag, digest };
}
