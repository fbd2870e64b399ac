/** Which images there are, which versions have them, and which may be deleted. Pure, so that a dry run decides as the real one does. */
import type { BuildView, ImageView } from '../../shared/protocol/views.ts';
import type { ImageUse } from '../store/build-store.ts';
import { tagPattern } from './identity.ts';
import type { HandedOut } from './registry-gate.ts';

export interface ImageFacts {
  /** All tags of the repository. */
  readonly tags: readonly string[];
  /** The images that this installation built, by its records. */
  readonly built: readonly BuildView[];
  readonly uses: readonly ImageUse[];
  /** Images that versions got lately; their records may not say so yet. */
  readonly handedOut: readonly HandedOut[];
  /** Tags that are being built or looked for. */
  readonly busy: ReadonlySet<string>;
}

export interface KnownImage {
  readonly view: ImageView;
  /** This installation built it. Another one may use the same registry, and its images are not ours to delete. */
  readonly ours: boolean;
  /** Rank of the newest version that has it, where 1 is the newest of its app; Infinity if none has it. */
  readonly rank: number;
}

/** @returns the images that this installation knows, newest first. */
export function knownImages({ tags, built, uses, handedOut, busy }: ImageFacts): KnownImage[] {
  const rows = new Map(built.map((build) => [build.tag, build]));
  const byTag = Map.groupBy(uses, ({ tag }) => tag ?? '');
  const late = new Set(handedOut.filter((image) => !isRecorded(image, uses)).map(({ tag }) => tag));
  return tags
    .filter((tag) => tagPattern.test(tag) && (rows.has(tag) || byTag.has(tag) || busy.has(tag)))
    .map((tag) => {
      const having = byTag.get(tag) ?? [];
      const row = rows.get(tag);
      return {
        view: {
          tag,
          digest: row?.imageDigest ?? having.find(({ digest }) => digest !== null)?.digest ?? null,
          builtAt: row?.endedAt ?? null,
          versions: having
            .map(({ app, version }) => ({ app, version }))
            .toSorted((a, b) => (a.app === b.app ? b.version - a.version : a.app < b.app ? -1 : 1)),
          inUse: busy.has(tag) || late.has(tag) || having.some(({ inUse }) => inUse),
        },
        ours: row !== undefined,
        rank: Math.min(...having.map(({ rank }) => rank)),
      };
    })
    .toSorted((a, b) => ((a.view.builtAt ?? '') < (b.view.builtAt ?? '') ? 1 : -1));
}

/** @returns the images that may be deleted, unless another tag shares their digest. */
export function prunable(images: readonly KnownImage[], keep: number): KnownImage[] {
  return images.filter(({ view, ours, rank }) => ours && !view.inUse && rank > keep);
}

export interface DoomedImage extends ImageView {
  readonly digest: string;
}

/**
 * @param digests that the tags lead to now. Deleting a manifest deletes every tag that leads to it, so none of those may stay.
 * @returns the images to delete among the oldest `maxImages` prunable ones, oldest first.
 */
export function doomedImages(
  facts: ImageFacts,
  digests: ReadonlyMap<string, string>,
  { keep, maxImages }: { readonly keep: number; readonly maxImages: number },
): DoomedImage[] {
  const chosen = prunable(knownImages(facts), keep);
  const going = new Set(chosen.map(({ view }) => view.tag));
  const staying = pinnedDigests(facts, keep);
  for (const [tag, digest] of digests) if (!going.has(tag)) staying.add(digest);
  return chosen
    .toReversed()
    .slice(0, maxImages)
    .flatMap(({ view }) => {
      const digest = digests.get(view.tag);
      return digest === undefined || staying.has(digest) ? [] : [{ ...view, digest }];
    });
}

/** @returns the digests that run or may have to run, whichever tags lead to them now. */
export function pinnedDigests({ uses, handedOut }: Pick<ImageFacts, 'uses' | 'handedOut'>, keep: number): Set<string> {
  const digests = uses
    .filter(({ inUse, rank, tag }) => inUse || (rank <= keep && tag !== null))
    .flatMap(({ digest }) => digest ?? []);
  const late = handedOut.filter((image) => !isRecorded(image, uses)).map(({ digest }) => digest);
  return new Set([...digests, ...late]);
}

/** The record must have the digest: the tag alone is known before the image exists. */
function isRecorded(image: HandedOut, uses: readonly ImageUse[]): boolean {
  return uses.some(
    ({ app, version, tag, digest }) =>
      app === image.app && version === image.version && tag === image.tag && digest === image.digest,
  );
}
