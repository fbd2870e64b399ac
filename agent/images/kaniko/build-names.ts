/** Names, labels and annotations of a build's Job. They follow from the tag alone, so that a restarted agent finds its builds. */
import { createHash } from 'node:crypto';
import { labels, manager } from '../../platform/kubernetes/manifests/names.ts';

export const buildLabels = {
  component: 'app.kubernetes.io/component',
  /** The tag, or what of it fits into a label. */
  build: 'holdfast.dev/build',
  /** Whose builds they are, where two sets of agents share a namespace: the name of their lease. */
  agents: 'holdfast.dev/agents',
} as const;

export const buildAnnotations = {
  tag: 'holdfast.dev/build-tag',
  image: 'holdfast.dev/build-image',
  version: 'holdfast.dev/version',
  secret: 'holdfast.dev/build-secret',
  /** SHA-256 of the token by which the init container gets its context: enough to know it again, not to use it. */
  tokenHash: 'holdfast.dev/context-token-sha256',
} as const;

const component = 'build';
const maxLabelLength = 63;
const prefix = 'hf-build-';
/** The pods of a Job get six characters more, and their names are host names. */
const maxTagPart = maxLabelLength - prefix.length - 6;

/** At most 57 characters. */
export function jobName(tag: string): string {
  return prefix + tagPart(tag);
}

function tagPart(tag: string): string {
  if (tag.length <= maxTagPart && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(tag)) return tag;
  return createHash('sha256').update(tag).digest('hex').slice(0, 40);
}

export function labelsOfBuild(build: {
  readonly tag: string;
  readonly app: string;
  readonly agents: string;
}): Record<string, string> {
  return {
    [labels.managedBy]: manager,
    [buildLabels.component]: component,
    [buildLabels.build]: tagPart(build.tag),
    [buildLabels.agents]: labelValue(build.agents),
    [labels.app]: build.app,
  };
}

/** Of one build, or of all. */
export function buildSelector(agents: string, tag?: string): string {
  const ours = `${labels.managedBy}=${manager},${buildLabels.component}=${component},${buildLabels.agents}=${labelValue(agents)}`;
  return tag === undefined ? ours : `${ours},${buildLabels.build}=${tagPart(tag)}`;
}

function labelValue(text: string): string {
  return text.length <= maxLabelLength ? text : createHash('sha256').update(text).digest('hex').slice(0, 40);
}
