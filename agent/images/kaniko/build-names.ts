/** Names, labels and annotations of a build's Job. They depend on the tag alone, so that a restarted agent finds its builds. */
import { createHash } from 'node:crypto';
import { labels, manager } from '../../kube/labels.ts';

export const buildLabels = {
  component: 'app.kubernetes.io/component',
  /** The tag, or a hash of one that does not fit into a label. */
  build: 'holdfast.dev/build',
  /** The lease of the agents whose build it is: two sets of agents may share a namespace. */
  agents: 'holdfast.dev/agents',
} as const;

export const buildAnnotations = {
  tag: 'holdfast.dev/build-tag',
  image: 'holdfast.dev/build-image',
  version: 'holdfast.dev/version',
  secret: 'holdfast.dev/build-secret',
  /** The SHA-256 of the token with which the init container fetches the context: enough to recognise the token, not to use it. */
  tokenHash: 'holdfast.dev/context-token-sha256',
} as const;

const component = 'build';
const maxLabelLength = 63;
const prefix = 'hf-build-';
/** Pod names, which are host names, have six characters more than the name of their Job. */
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

/** The label selector for the builds of these agents: for all, or for one tag. */
export function buildSelector(agents: string, tag?: string): string {
  const ours = `${labels.managedBy}=${manager},${buildLabels.component}=${component},${buildLabels.agents}=${labelValue(agents)}`;
  return tag === undefined ? ours : `${ours},${buildLabels.build}=${tagPart(tag)}`;
}

function labelValue(text: string): string {
  return text.length <= maxLabelLength ? text : createHash('sha256').update(text).digest('hex').slice(0, 40);
}
