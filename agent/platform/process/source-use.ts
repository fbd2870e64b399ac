/**
 * Which snapshots are still needed. The platform does not know a version that was never started, so each `pin` holds a claim until a version
 * with that digest appears. Claims of versions that are never started end with the agent; the next one gets every version by `adopt`.
 */
export class SourceUse {
  readonly #claims = new Map<string, number>();
  readonly #versions = new Map<string, Map<number, string>>();

  claim(digest: string): void {
    this.#claims.set(digest, (this.#claims.get(digest) ?? 0) + 1);
  }

  /** The version needs the snapshot. A version that was not known takes over a claim. */
  use(app: string, version: number, digest: string): void {
    if (!this.#add(app, version, digest)) return;
    const claims = (this.#claims.get(digest) ?? 0) - 1;
    if (claims > 0) this.#claims.set(digest, claims);
    else this.#claims.delete(digest);
  }

  /** The version needs the snapshot, which an earlier agent took. */
  adopt(app: string, version: number, digest: string): void {
    this.#add(app, version, digest);
  }

  drop(app: string, version: number): void {
    this.#versions.get(app)?.delete(version);
    if (this.#versions.get(app)?.size === 0) this.#versions.delete(app);
  }

  dropApp(app: string): void {
    this.#versions.delete(app);
  }

  needs(digest: string): boolean {
    if (this.#claims.has(digest)) return true;
    return [...this.#versions.values()].some((versions) => [...versions.values()].includes(digest));
  }

  #add(app: string, version: number, digest: string): boolean {
    let versions = this.#versions.get(app);
    if (versions === undefined) this.#versions.set(app, (versions = new Map()));
    if (versions.get(version) === digest) return false;
    versions.set(version, digest);
    return true;
  }
}
