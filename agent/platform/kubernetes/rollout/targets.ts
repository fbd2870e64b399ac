/**
 * The targets: the pods that answer now. A pod becomes a target when it answers a probe. It stops being one as soon as it
 * is deleted, has ended, is retired by `stop`, or loses its readiness or its container; then it has to answer again.
 */
import type { ProbeOutcome } from '../../../../shared/net/http-probe.ts';
import type { Target } from '../../../../shared/protocol/routes.ts';
import type { PodFacts } from '../picture/facts.ts';
import type { Change } from '../../../kube/informer.ts';
import type { Prober } from './probe.ts';

type State =
  /** It has no address yet, or is leaving. */
  | { readonly kind: 'idle' }
  | { readonly kind: 'probing'; readonly end: () => void }
  | { readonly kind: 'answers'; readonly target: Target; readonly exits: number };

interface Entry {
  facts: PodFacts;
  state: State;
  /** What the last probe saw. */
  outcome: ProbeOutcome | undefined;
  retired: boolean;
}

export function createTargets(deps: { readonly prober: Prober }) {
  const { prober } = deps;
  const apps = new Map<string, Map<string, Entry>>();
  const listeners = new Set<(app: string, version: number) => void>();

  function entriesOf(app: string, version: number): Entry[] {
    return [...(apps.get(app)?.values() ?? [])].filter((entry) => entry.facts.version === version);
  }

  function setState(entry: Entry, next: State): void {
    const before = entry.state;
    if (before.kind === 'probing') before.end();
    entry.state = next;
    const idBefore = before.kind === 'answers' ? before.target.id : undefined;
    const idNow = next.kind === 'answers' ? next.target.id : undefined;
    if (idBefore === idNow) return;
    for (const listener of listeners) listener(entry.facts.app, entry.facts.version);
  }

  function probe(entry: Entry): void {
    const { ip, port } = entry.facts;
    entry.outcome = undefined;
    if (ip === undefined || entry.facts.leaving || entry.retired) {
      setState(entry, { kind: 'idle' });
      return;
    }
    const end = prober.watch({ ...entry.facts.probe, host: ip, port }, (outcome) => {
      entry.outcome = outcome;
      if (outcome.kind !== 'ready') return;
      const { uid, exits } = entry.facts;
      const id = exits === 0 ? uid : `${uid}-${String(exits)}`;
      setState(entry, { kind: 'answers', target: { id, host: ip, port }, exits });
    });
    setState(entry, { kind: 'probing', end });
  }

  function update(entry: Entry, facts: PodFacts): void {
    const before = entry.facts;
    entry.facts = facts;
    const { state } = entry;
    switch (state.kind) {
      case 'idle':
        probe(entry);
        return;
      case 'probing':
        if (facts.leaving || facts.ip !== before.ip) probe(entry);
        return;
      case 'answers': {
        const unready = before.ready && !facts.ready;
        if (facts.leaving || unready || facts.exits > state.exits || facts.ip !== state.target.host) probe(entry);
        return;
      }
      default:
        state satisfies never;
    }
  }

  return {
    of: (app: string, version: number) =>
      entriesOf(app, version).flatMap(({ state }) => (state.kind === 'answers' ? [state.target] : [])),
    onChange(listener: (app: string, version: number) => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    /** Takes a change that the watch of pods reports. */
    take({ type, value: facts }: Change<PodFacts | undefined>): void {
      if (facts === undefined) return;
      const own = apps.get(facts.app) ?? new Map<string, Entry>();
      const known = own.get(facts.uid);
      if (type === 'gone') {
        own.delete(facts.uid);
        if (own.size === 0) apps.delete(facts.app);
        if (known !== undefined) setState(known, { kind: 'idle' });
        return;
      }
      apps.set(facts.app, own);
      if (known !== undefined) {
        update(known, facts);
        return;
      }
      const entry: Entry = { facts, state: { kind: 'idle' }, outcome: undefined, retired: false };
      own.set(facts.uid, entry);
      probe(entry);
    },
    /** Probes these targets once. One that does not answer is no target until it answers again. */
    async verify(app: string, version: number, ids: readonly string[], signal: AbortSignal): Promise<void> {
      await Promise.all(
        entriesOf(app, version).map(async (entry) => {
          const { state, facts } = entry;
          if (state.kind !== 'answers' || !ids.includes(state.target.id)) return;
          const { host, port } = state.target;
          const answered = await prober.once({ ...facts.probe, host, port }, signal);
          if (!answered && !signal.aborted && entry.state === state) probe(entry);
        }),
      );
    },
    /** Drops all targets of the version: its present pods are about to end. */
    retire(app: string, version: number): void {
      for (const entry of entriesOf(app, version)) {
        entry.retired = true;
        setState(entry, { kind: 'idle' });
      }
    },
    /** Lets the retired pods that still exist become targets again: they were not ended after all. */
    unretire(app: string, version: number): void {
      for (const entry of entriesOf(app, version)) {
        if (!entry.retired) continue;
        entry.retired = false;
        probe(entry);
      }
    },
    hasRetired: (app: string, version: number) => entriesOf(app, version).some((entry) => entry.retired),
    /** What the last probe of the pod saw. @param uid of the pod. */
    outcomeOf: (app: string, uid: string): ProbeOutcome | undefined => apps.get(app)?.get(uid)?.outcome,
  };
}

export type Targets = ReturnType<typeof createTargets>;
