/** The images in the registry: lists them, and prunes those that no version needs. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { ImageView } from '../../shared/protocol/views.ts';
import type { BuildStore } from '../store/build-store.ts';
import { doomedImages, knownImages, pinnedDigests, prunable, type DoomedImage, type ImageFacts } from './image-list.ts';
import type { RegistryGate } from './registry-gate.ts';

export interface ImageRegistry {
  exists(image: string, signal: AbortSignal): Promise<string | undefined>;
  /** Every tag; none if there is no such repository. */
  tags(repository: string, signal: AbortSignal): Promise<readonly string[]>;
  deleteManifest(repository: string, digest: string, signal: AbortSignal): Promise<void>;
}

export interface PruneOptions {
  /** Keep the images of this many newest versions of each app. */
  readonly keep: number;
  readonly dryRun: boolean;
  /** Named in the events. */
  readonly actor: string;
  readonly maxImages: number;
}

interface ImageStoreDeps {
  readonly repository: string;
  readonly registry: ImageRegistry;
  readonly store: Pick<BuildStore, 'built' | 'uses' | 'pruned'>;
  readonly gate: Pick<RegistryGate, 'deletion' | 'handedOut'>;
  /** Tags that are being built now. */
  readonly busy: () => ReadonlySet<string>;
  readonly log: Log;
}

const looksAtOnce = 8;

export function createImageStore(deps: ImageStoreDeps) {
  const { repository, registry, store, gate, busy, log } = deps;

  async function facts(signal: AbortSignal): Promise<ImageFacts> {
    const tags = await registry.tags(repository, signal);
    const [built, uses] = await Promise.all([store.built(), store.uses()]);
    return { tags, built, uses, handedOut: gate.handedOut, busy: busy() };
  }

  /** @returns the digest that each tag leads to now, without tags that are gone. */
  async function digestsOf(tags: readonly string[], signal: AbortSignal): Promise<Map<string, string>> {
    const digests = new Map<string, string>();
    const left = [...tags];
    const look = async (): Promise<void> => {
      for (let tag = left.pop(); tag !== undefined; tag = left.pop()) {
        const digest = await registry.exists(`${repository}:${tag}`, signal);
        if (digest !== undefined) digests.set(tag, digest);
      }
    };
    const looks = Array.from({ length: looksAtOnce }, look);
    try {
      await Promise.all(looks);
    } catch (error) {
      // The others stop after their current tag: a registry that is away must not be asked for every one.
      left.length = 0;
      await Promise.allSettled(looks);
      throw error;
    }
    return digests;
  }

  /** Deletes the image unless a version wants it by now. @returns whether it was deleted. */
  async function remove({ tag, digest }: DoomedImage, keep: number, signal: AbortSignal): Promise<boolean> {
    let removed = false;
    const [built, uses] = await Promise.all([store.built(), store.uses()]);
    await gate.deletion(async () => {
      // Versions that got it since the records were read are in `handedOut`, and none can get it during a deletion.
      const fresh: ImageFacts = { tags: [tag], built, uses, handedOut: gate.handedOut, busy: busy() };
      if (prunable(knownImages(fresh), keep).length === 0 || pinnedDigests(fresh, keep).has(digest)) return;
      await registry.deleteManifest(repository, digest, signal);
      removed = true;
    }, signal);
    return removed;
  }

  return {
    async list(app: string | undefined, signal: AbortSignal): Promise<ImageView[]> {
      const all = knownImages(await facts(signal)).map(({ view }) => view);
      const views = app === undefined ? all : all.filter(({ versions }) => versions.some((one) => one.app === app));
      const unknown = views.filter(({ digest }) => digest === null).map(({ tag }) => tag);
      const digests = await digestsOf(unknown, signal);
      return views.map((view) => ({ ...view, digest: view.digest ?? digests.get(view.tag) ?? null }));
    },

    /**
     * Deletes at most `maxImages`. @returns the images that were deleted; with `dryRun`, that would be.
     * @throws AppError registry_unavailable, image_denied, store_unavailable.
     */
    async prune(options: PruneOptions, signal: AbortSignal): Promise<ImageView[]> {
      const known = await facts(signal);
      if (prunable(knownImages(known), options.keep).length === 0) return [];
      const doomed = doomedImages(known, await digestsOf(known.tags, signal), options);
      return options.dryRun ? doomed : await deleteImages(doomed, options, signal);
    },
  };

  /** Deletes the images that no version wants by now. @returns them. */
  async function deleteImages(
    doomed: readonly DoomedImage[],
    { keep, actor }: PruneOptions,
    signal: AbortSignal,
  ): Promise<ImageView[]> {
    /** Whether each digest was deleted: several tags may lead to one. */
    const outcomes = new Map<string, boolean>();
    const deleted: ImageView[] = [];
    for (const image of doomed) {
      const isDeleted = outcomes.get(image.digest) ?? (await remove(image, keep, signal));
      outcomes.set(image.digest, isDeleted);
      if (!isDeleted) continue;
      await recordPruned(image, actor);
      deleted.push(image);
    }
    return deleted;
  }

  async function recordPruned({ tag, digest, versions }: DoomedImage, actor: string): Promise<void> {
    const [newest] = versions;
    const of =
      versions.length === 0
        ? 'no version has it'
        : `of ${versions.map((one) => `${one.app} v${one.version}`).join(', ')}`;
    log.info({ tag, digest, actor }, 'image pruned');
    try {
      await store.pruned(tag, {
        actor,
        app: newest?.app ?? null,
        version: newest?.version ?? null,
        kind: 'image.pruned',
        message: `${tag} (${digest}), ${of}`,
      });
    } catch (error) {
      // The registry counts: lists are made from what it has.
      log.warn({ err: toAppError(error), tag }, 'could not write the record of a pruned image');
    }
  }
}
