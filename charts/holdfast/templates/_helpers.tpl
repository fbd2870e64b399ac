{{/* Names and labels */}}
{{- define "holdfast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters at most, so that the longest suffix fits into a name of 63 */}}
{{- define "holdfast.fullname" -}}
{{- $name := include "holdfast.name" . -}}
{{- $full := default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) .Values.fullnameOverride -}}
{{- $full | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "holdfast.appsNamespace" -}}
{{- default (printf "%s-apps" .Release.Namespace) .Values.apps.namespace -}}
{{- end -}}

{{/* (dict "ctx" $ "component" "router") */}}
{{- define "holdfast.selectorLabels" -}}
app.kubernetes.io/name: {{ include "holdfast.name" .ctx }}
app.kubernetes.io/instance: {{ .ctx.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selectorLabels" . }}
app.kubernetes.io/version: {{ .ctx.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/managed-by: {{ .ctx.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .ctx.Chart.Name .ctx.Chart.Version | replace "+" "_" }}
{{- with .ctx.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (dict "ctx" $ "component" "router" "name" "x-router") */}}
{{- define "holdfast.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "holdfast.fullname" .ctx) .component) }}
namespace: {{ .namespace | default .ctx.Release.Namespace }}
labels:
  {{- include "holdfast.labels" . | nindent 2 }}
{{- end -}}

{{/* (dict "image" .Values.image "default" .Chart.AppVersion) */}}
{{- define "holdfast.imageName" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .default }}
{{- end -}}
{{- end -}}

{{/* What every pod of the release has: restricted pod security, and no environment variable per Service, which would be
     read as configuration (HOLDFAST_AGENT_PORT). (dict "uid" 1000) */}}
{{- define "holdfast.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "holdfast.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* Where the pods of a component go. (dict "ctx" $ "component" "router" "values" .Values.router) */}}
{{- define "holdfast.scheduling" -}}
{{- $spread := dict "matchLabels" (fromYaml (include "holdfast.selectorLabels" .)) -}}
{{- $term := dict "weight" 100 "podAffinityTerm" (dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $spread) -}}
{{- $soft := dict "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list $term)) -}}
affinity:
  {{- toYaml (.values.affinity | default $soft) | nindent 2 }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .ctx.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Without the chart's version, which would restart every pod at an upgrade that changes nothing of it. */}}
{{- define "holdfast.podMetadata" -}}
labels:
  {{- include "holdfast.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/part-of: holdfast
  {{- with .ctx.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) (.annotations | default dict) .values.podAnnotations }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A value of a Secret that outlives upgrades: what is there, else what is given. (dict "ctx" $ "secret" name "key" key "new" value) */}}
{{- define "holdfast.kept" -}}
{{- $there := lookup "v1" "Secret" (.namespace | default .ctx.Release.Namespace) .secret -}}
{{- $data := ($there).data | default dict -}}
{{- if hasKey $data .key -}}{{ index $data .key | b64dec }}{{- else -}}{{ .new }}{{- end -}}
{{- end -}}

{{/* (dict "ctx" $ "token" "router") */}}
{{- define "holdfast.tokenSecret" -}}
{{- (index .ctx.Values.tokens .token).existingSecret | default (printf "%s-%s-token" (include "holdfast.fullname" .ctx) .token) -}}
{{- end -}}

{{/* Whether a call without TLS is answered with a redirect: `true` or nothing */}}
{{- define "holdfast.redirectsHttp" -}}
{{- if ((.Values.router.config).tls).redirect_http }}true{{ end -}}
{{- end -}}

{{/* Hosts of the Ingress: those that are named, and those of apps without a path */}}
{{- define "holdfast.ingressHosts" -}}
{{- $hosts := .Values.router.ingress.hosts -}}
{{- with .Values.router.domain }}{{ $hosts = concat (list . (printf "*.%s" .)) $hosts }}{{ end -}}
{{- $hosts | uniq | toJson -}}
{{- end -}}

{{/* Where callers reach the routers; empty if neither values nor the way in say so */}}
{{- define "holdfast.publicUrl" -}}
{{- $r := .Values.router -}}
{{- if $r.publicUrl -}}
{{- $r.publicUrl -}}
{{- else -}}
{{- $host := $r.domain -}}
{{- if $r.ingress.enabled -}}
{{- range $r.ingress.hosts }}{{ if and (not $host) (not (hasPrefix "*" .)) }}{{ $host = . }}{{ end }}{{ end -}}
{{- if $host }}{{ ternary "https" "http" (not (empty $r.ingress.tls)) }}://{{ $host }}{{ end -}}
{{- else if and $host (ne $r.service.type "ClusterIP") -}}
{{- $nodePort := eq $r.service.type "NodePort" -}}
{{- if $r.tls.secrets -}}
{{- $port := int (ternary $r.tls.nodePort $r.tls.port $nodePort) -}}
{{- if $port }}https://{{ $host }}{{ if ne $port 443 }}:{{ $port }}{{ end }}{{ end -}}
{{- else -}}
{{- $port := int (ternary $r.service.nodePort $r.service.port $nodePort) -}}
{{- if $port }}http://{{ $host }}{{ if ne $port 80 }}:{{ $port }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Postgres */}}
{{- define "holdfast.postgresSecret" -}}
{{- .Values.postgres.existingSecret | default (printf "%s-postgres" (include "holdfast.fullname" .)) -}}
{{- end -}}

{{/* Registry */}}
{{- define "holdfast.registryHost" -}}
{{- if .Values.registry.enabled -}}
{{- .Values.registry.host | default (printf "%s-registry.%s.svc:%v" (include "holdfast.fullname" .) .Release.Namespace .Values.registry.service.port) -}}
{{- else -}}
{{- .Values.externalRegistry.url -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.registrySecret" -}}
{{- .Values.registry.auth.existingSecret | default (printf "%s-registry" (include "holdfast.fullname" .)) -}}
{{- end -}}

{{- define "holdfast.pullSecret" -}}
{{- printf "%s-registry-pull" (include "holdfast.fullname" .) -}}
{{- end -}}

{{/* Labels of the pods of build Jobs: agent/images/kaniko/build-names.ts */}}
{{- define "holdfast.buildLabels" -}}
app.kubernetes.io/managed-by: holdfast
app.kubernetes.io/component: build
holdfast.dev/agents: {{ include "holdfast.fullname" . }}-agent
{{- end -}}

{{/* What cannot work is refused here, with the key to set. */}}
{{- define "holdfast.validate" -}}
{{- if not .Values.postgres.enabled -}}
{{- $db := .Values.externalDatabase -}}
{{- if not (or $db.host $db.url $db.existingSecret) -}}
{{- fail "postgres.enabled is false: set externalDatabase.host with user and database, externalDatabase.url or externalDatabase.existingSecret" -}}
{{- end -}}
{{- if and $db.host $db.url -}}
{{- fail "externalDatabase: set either host or url" -}}
{{- end -}}
{{- if and $db.host (not (and $db.user $db.database)) -}}
{{- fail "externalDatabase.host is set: set externalDatabase.user and externalDatabase.database too" -}}
{{- end -}}
{{- if and $db.password (not $db.host) -}}
{{- fail "externalDatabase.password is used with externalDatabase.host only" -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.registry.enabled) (not .Values.externalRegistry.url) -}}
{{- fail "registry.enabled is false: set externalRegistry.url; Holdfast needs a registry" -}}
{{- end -}}
{{- if and (eq .Values.builder.mode "delegate") (not .Values.builder.delegate.url) -}}
{{- fail "builder.mode is delegate: set builder.delegate.url" -}}
{{- end -}}
{{- if eq (include "holdfast.appsNamespace" .) .Release.Namespace -}}
{{- fail "apps.namespace must not be the namespace of the release: apps run with fewer protections than Holdfast itself" -}}
{{- end -}}
{{- if and (include "holdfast.redirectsHttp" .) (not .Values.router.tls.secrets) -}}
{{- fail "router.config.tls.redirect_http is true: name at least one certificate in router.tls.secrets" -}}
{{- end -}}
{{- if and .Values.router.ingress.enabled (not .Values.router.ingress.hosts) (not .Values.router.domain) -}}
{{- fail "router.ingress.enabled is true: set router.domain, or name at least one host in router.ingress.hosts" -}}
{{- end -}}
{{- end -}}

{{/* NetworkPolicy: peers of CIDRs, and the rule that every pod needs to find names */}}
{{- define "holdfast.cidrPeers" -}}
{{- range . }}
- ipBlock: { cidr: {{ . | quote }} }
{{- end }}
{{- end -}}

{{- define "holdfast.tcpPorts" -}}
{{- range . }}
- { port: {{ . }}, protocol: TCP }
{{- end }}
{{- end -}}

{{- define "holdfast.dnsEgress" -}}
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- end -}}

{{/* (dict "ctx" $ "component" "router") */}}
{{- define "holdfast.componentPeer" -}}
- podSelector:
    matchLabels:
      {{- include "holdfast.selectorLabels" . | nindent 6 }}
{{- end -}}
