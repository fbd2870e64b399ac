/** Versions and pods for the tests of this folder. */
import { appConfig, resolveAppConfig } from '../../shared/protocol/app-config.ts';
import { appSpec, type AppSpecInput } from '../../shared/protocol/app-spec.ts';
import type { VersionRun } from '../platform/platform.ts';
import type { PodFacts } from '../platform/kubernetes/picture/facts.ts';

export function testRun(app: Partial<AppSpecInput> = {}, version = 1): VersionRun {
  const spec = appSpec.parse({ name: 'hello', path: '/hello', image: 'registry.example/hello:1', ...app });
  return {
    app: spec.name,
    version,
    spec,
    config: resolveAppConfig(appConfig.parse({}), spec.config),
    pin: { imageDigest: null, sourceDigest: null, imageTag: null },
  };
}

export function testPod(facts: Partial<PodFacts> = {}): PodFacts {
  return {
    name: 'hf-hello-v1-a',
    uid: 'uid-a',
    app: 'hello',
    version: 1,
    ip: '10.0.0.1',
    port: 8080,
    probe: { wants: 'answer' },
    leaving: false,
    ready: false,
    unschedulable: undefined,
    nominatedNode: undefined,
    scheduled: true,
    running: false,
    waiting: undefined,
    exits: 0,
    lastExit: undefined,
    ...facts,
  };
}
