{{- define "fanfare.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for "-internal" behind it. */}}
{{- define "fanfare.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains (include "fanfare.name" .) .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fanfare.name" .) | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fanfare.selector" -}}
app.kubernetes.io/name: {{ include "fanfare.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fanfare.labels" -}}
{{ include "fanfare.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Whether there is more than one hub at a time. */}}
{{- define "fanfare.isFleet" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) }}true{{ end -}}
{{- end -}}

{{/* The configuration: the user's, and what has to agree with the manifests. */}}
{{- define "fanfare.config" -}}
{{- $own := dict
  "http_server" (dict "port" 8000 "internal_port" "9000")
  "shutdown" (dict "timeout" (printf "%ds" (int .Values.shutdown.drainSeconds)))
-}}
{{/* Probes and scrapes speak plain HTTP. */}}
{{- if dig "http_server" "tls" "enabled" false .Values.config -}}
{{- $_ := set $own.http_server "tls_external" true -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) -}}
{{- end -}}

{{/* Hubs of which each knows its own clients only would look well and lose most of what is published. */}}
{{- define "fanfare.checkEngine" -}}
{{- $engine := dig "engine" "type" "memory" .Values.config -}}
{{- $broker := dig "broker" "type" "memory" .Values.config -}}
{{- if dig "broker" "enabled" false .Values.config -}}{{- $engine = $broker -}}{{- end -}}
{{- if and (include "fanfare.isFleet" .) (has $engine (list "memory" "disk")) -}}
{{- fail (printf "several hubs need an engine that they share: config.engine.type is %q; set \"redis\" or \"nats\", or replicas: 1" $engine) -}}
{{- end -}}
{{- end -}}
