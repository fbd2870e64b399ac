/** Text in pods that the kubelet is to hand on as it is. */

/**
 * Escapes text for `command`, `args` and the values of `env`, in which the kubelet expands `$(NAME)` and takes `$$` for one `$`: two of
 * them always are one. @see https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#entrypoint
 */
export function literal(text: string): string {
  return text.replaceAll('$', '$$$$');
}
