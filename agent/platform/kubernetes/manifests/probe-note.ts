/**
 * What the agent probes of a pod, noted on the pod itself: a new leader, or a watch, knows it without the app. The kubelet probes less (an
 * open port, or the health page), since it counts neither 401 nor SETTINGS frames as answers.
 */
import { z } from 'zod';
import type { ReadinessProbe } from '../../readiness.ts';

/** Annotation of pods. Pods of releases before 0.9 lack it: an open port was enough for those. */
export const probeAnnotation = 'holdfast.dev/probe';
/** Annotation of pods of earlier releases that speak HTTP/2: the path that the agent probes. */
export const formerHttp2Annotation = 'holdfast.dev/http2-health-path';

const note = z.object({
  path: z.string().startsWith('/').optional(),
  host: z.string().optional(),
  protocol: z.enum(['http1', 'h2c']).optional(),
});

export function probeNote({ wants, path, authority, protocol }: ReadinessProbe): string {
  return JSON.stringify({
    path: wants === 'success' ? path : undefined,
    host: authority,
    protocol: protocol === 'h2c' ? protocol : undefined,
  });
}

/** @param healthPath that the kubelet probes. */
export function probeOfPod(
  annotations: Readonly<Record<string, string>> | undefined,
  healthPath: string | undefined,
): ReadinessProbe {
  const text = annotations?.[probeAnnotation];
  if (text === undefined) {
    const http2Path = annotations?.[formerHttp2Annotation];
    const path = http2Path ?? healthPath;
    return {
      wants: path === undefined ? 'connection' : 'success',
      path,
      protocol: http2Path === undefined ? undefined : 'h2c',
    };
  }
  const { path, host, protocol } = note.catch({}).parse(parseJson(text));
  return { wants: path === undefined ? 'answer' : 'success', path, authority: host, protocol };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
