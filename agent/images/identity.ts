/** The tag of an image, a hash of everything that goes into it: equal inputs have equal tags, whichever app or agent asks. */
import { createHash, scrypt } from 'node:crypto';

export interface ImageInput {
  readonly treeDigest: string;
  readonly dockerfile: string;
  /** Contents by path that are added to the tree, such as the files of a preset. */
  readonly extraFiles: Readonly<Record<string, string>>;
  readonly args: Readonly<Record<string, string>>;
  readonly secretArgs: Readonly<Record<string, string>>;
  readonly target: string | undefined;
  /** `kaniko` or `delegate`: they make different images of the same Dockerfile. */
  readonly builder: string;
}

/** To be changed with the form below. Images of earlier releases are then built again. */
const scheme = 'holdfast image 1';
const tagLength = 40;
export const tagPattern = /^[0-9a-f]{40}$/;

/** @returns 40 hex digits. */
export async function imageTag(input: ImageInput): Promise<string> {
  const secrets = await Promise.all(
    sorted(input.secretArgs).map(async ([name, value]) => [name, await disguised(name, value)]),
  );
  const form = JSON.stringify([
    scheme,
    input.treeDigest,
    input.dockerfile,
    sorted(input.extraFiles),
    sorted(input.args),
    secrets,
    input.target ?? null,
    input.builder,
  ]);
  return createHash('sha256').update(form).digest('hex').slice(0, tagLength);
}

/** Sorts by code units, which does not depend on the locale. */
function sorted(table: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(table).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * The tag is public and everything else in it may be known, so a weak secret could be found by trying: each try is made to
 * cost some 50 ms and 16 MiB. No key of our own: agents with another database would not find the image again.
 */
function disguised(name: string, value: string): Promise<string> {
  return new Promise((resolve, reject) => {
    scrypt(value, `holdfast build secret ${name}`, 32, (error, key) => {
      if (error) reject(error);
      else resolve(key.toString('hex'));
    });
  });
}
