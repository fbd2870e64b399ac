/** Which images there are, who has them, and which of them may go: pure, so that a dry run and the real thing cannot differ. */
import type { BuildView, ImageView } from '../../shared/protocol/views.ts';
import type { ImageUse } from '../store/build-store.ts';
import { tagPattern } from './identity.ts';
import type { HandedOut } from './registry-gate.ts';

export interface ImageFacts {
  /** Of the repository. */
  readonly tags: readonly string[];
  /** Images that this installation built, by its records. */
  readonly built: readonly BuildView[];
  readonly uses: readonly ImageUse[];
  /** Told to versions lately; their records may not say so yet. */
  readonly handedOut: readonly HandedOut[];
  /** Being built or looked for. */
  readonly busy: ReadonlySet<string>;
}

export interface KnownImage {
  readonly view: ImageView;
  /** This installation built it: another one may use the same registry, and its images are its own. */
  readonly ours: boolean;
  /** Rank of the newest version that has it; 1 is the newest of its app. */
  readonly rank: number;
}

/** Those that this installation knows, newest first. */
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

/** Those that may go, if their digests are nobody else's. */
export function prunable(images: readonly KnownImage[], keep: number): KnownImage[] {
  return images.filter(({ view, ours, rank }) => ours && !view.inUse && rank > keep);
}

/** Digests that run or may have to, whatever tags lead to them now. */
export function pinnedDigests({ uses, handedOut }: Pick<ImageFacts, 'uses' | 'handedOut'>, keep: number): Set<string> {
  const digests = uses
    .filter(({ inUse, rank, tag }) => inUse || (rank <= keep && tag !== null))
    .flatMap(({ digest }) => digest ?? []);
  const late = handedOut.filter((image) => !isRecorded(image, uses)).map(({ digest }) => digest);
  return new Set([...digests, ...late]);
}

/** With its digest: the tag alone is known before the image is there. */
function isRecorded(image: HandedOut, uses: readonly ImageUse[]): boolean {
  return uses.some(
    ({ app, version, tag, digest }) =>
      app === image.app && version === image.version && tag === image.tag && digest === image.digest,
  );
}
