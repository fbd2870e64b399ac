/**
 * Names of the objects that Holdfast makes. They follow from app and version alone, so that a restarted agent finds its
 * objects; they have at most 63 characters and are unique.
 */
import { createHash } from 'node:crypto';
import { labels, manager } from '../../../kube/labels.ts';

/** Label selector for all objects of Holdfast, or for those of one app. */
export function selectorOf(app?: string): string {
  const ours = `${labels.managedBy}=${manager}`;
  return app === undefined ? ours : `${ours},${labels.app}=${app}`;
}

export function labelsOf(app: string, version?: number): Record<string, string> {
  return {
    [labels.managedBy]: manager,
    [labels.app]: app,
    ...(version === undefined ? {} : { [labels.version]: String(version) }),
  };
}

/** Name of the Service, and of the one Deployment of an app with volumes. */
export function appObjectName(app: string): string {
  // `hf-a-v1` would be both app `a-v1` and version 1 of app `a`.
  return limited(`hf-${app}`, /-v\d+$/.test(app));
}

/** Name of the Deployment, Secret, ConfigMap and autoscaler of one version. */
export function versionObjectName(app: string, version: number): string {
  const tail = `-v${String(version)}`;
  return limited(`hf-${app}`, false, maxNameLength - tail.length) + tail;
}

export function claimName(app: string, volume: string): string {
  // `hf-a-b-c` would be both volume `b-c` of app `a` and volume `c` of app `a-b`.
  return limited(`hf-${app}-${volume}`, app.includes('-') || volume.includes('-'), maxNameLength, `${app}/${volume}`);
}

const maxNameLength = 63;

function limited(name: string, ambiguous: boolean, length = maxNameLength, identity = name): string {
  if (name.length <= length && !ambiguous) return name;
  const hash = createHash('sha256').update(identity).digest('hex').slice(0, 8);
  return `${name.slice(0, length - hash.length - 1).replace(/-+$/, '')}-${hash}`;
}
