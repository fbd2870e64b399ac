/** The Secret with which app pods pull from further registries, in the namespace of the apps. */
import { typeOf } from '../../kube/kinds.ts';
import type { DockerConfig } from '../../registry/credentials.ts';
import type { Manifest } from './manifests/manifests.ts';

export interface PullSecret {
  readonly name: string;
  readonly dockerConfig: DockerConfig;
}

/** Without the labels of an app's objects, since it belongs to no app. */
export function pullSecretManifest({ name, dockerConfig }: PullSecret): Manifest<'Secret'> {
  return {
    ...typeOf('Secret'),
    metadata: { name, labels: { 'app.kubernetes.io/part-of': 'holdfast' } },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': JSON.stringify(dockerConfig) },
  };
}
