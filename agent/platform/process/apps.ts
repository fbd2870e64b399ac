/** The processes and the log of each app. */
import { LogRing } from './log-ring.ts';
import type { VersionProcesses } from './version.ts';

interface ProcessAppsDeps {
  readonly create: (app: string, version: number, ring: LogRing) => VersionProcesses;
  /** Time from SIGTERM to SIGKILL. */
  readonly stopGraceMs: number;
}

export class ProcessApps {
  readonly #deps: ProcessAppsDeps;
  readonly #versions = new Map<string, Map<number, VersionProcesses>>();
  readonly #rings = new Map<string, LogRing>();

  constructor(deps: ProcessAppsDeps) {
    this.#deps = deps;
  }

  get names(): string[] {
    return [...this.#versions.keys()];
  }

  get all(): VersionProcesses[] {
    return this.names.flatMap((app) => [...this.of(app).values()]);
  }

  /** The versions of the app that were started and not discarded. */
  of(app: string): ReadonlyMap<number, VersionProcesses> {
    return this.#versions.get(app) ?? new Map();
  }

  /** The version, created if need be. */
  version(app: string, version: number): VersionProcesses {
    let versions = this.#versions.get(app);
    if (versions === undefined) this.#versions.set(app, (versions = new Map()));
    let processes = versions.get(version);
    if (processes === undefined) versions.set(version, (processes = this.#deps.create(app, version, this.ring(app))));
    return processes;
  }

  /** The log of the app, created if need be. */
  ring(app: string): LogRing {
    let ring = this.#rings.get(app);
    if (ring === undefined) this.#rings.set(app, (ring = new LogRing()));
    return ring;
  }

  /** Ends every other version of the app. If this version is being stopped, waits for that. */
  async endOthers(app: string, version: number, signal: AbortSignal): Promise<void> {
    const { stopGraceMs: graceMs } = this.#deps;
    for (const [number, processes] of this.of(app)) {
      if (number === version) await processes.settled();
      else await processes.stop({ graceMs, signal });
    }
  }

  async discard(app: string, version: number, signal: AbortSignal): Promise<void> {
    const processes = this.of(app).get(version);
    await processes?.stop({ graceMs: this.#deps.stopGraceMs, signal });
    // A start during the stop may have put another in its place.
    if (this.of(app).get(version) === processes) this.#versions.get(app)?.delete(version);
  }

  /** Ends everything of the app, and its log. */
  async remove(app: string, signal: AbortSignal): Promise<void> {
    await Promise.all([...this.of(app).keys()].map((version) => this.discard(app, version, signal)));
    this.#versions.delete(app);
    this.#rings.get(app)?.end();
    this.#rings.delete(app);
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all(this.all.map((processes) => processes.stop({ graceMs })));
    for (const ring of this.#rings.values()) ring.end();
  }
}
