{{/* Labels of every object. */}}
{{- define "offsite.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Labels that select the pods of one process: (dict "top" $ "process" "worker"). */}}
{{- define "offsite.selector" -}}
app.kubernetes.io/name: {{ .top.Chart.Name }}
app.kubernetes.io/instance: {{ .top.Release.Name }}
app.kubernetes.io/component: {{ .process }}
{{- end }}

{{- define "offsite.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The path of a PEM file, or nothing. */}}
{{- define "offsite.pem" -}}
{{- if . }}/etc/offsite/certificates/{{ . }}{{ end -}}
{{- end }}

{{/* offsite.toml, the settings of every process. */}}
{{- define "offsite.settings" -}}
{{- $v := .Values -}}
{{- $sasl := contains "SASL" $v.kafka.security -}}
{{- $top := dict "data" "/var/lib/offsite" "title" $v.title "desk_url" $v.database.url "desk_password" "file:/run/secrets/offsite/desk_password" "archive" $v.archive.url -}}
{{- if $v.plan.configMap }}{{ $_ := set $top "plan" "/etc/offsite/plan/plan.toml" }}{{ end -}}
{{- if $v.gateway.tlsSecret }}{{ $_ := set $top "tls_cert" "/etc/offsite/gateway/tls.crt" }}{{ $_ := set $top "tls_key" "/etc/offsite/gateway/tls.key" }}{{ end -}}
{{- $kafka := dict "bootstrap" $v.kafka.bootstrap "prefix" $v.kafka.prefix "security" $v.kafka.security "mechanism" $v.kafka.mechanism "username" $v.kafka.username "ca" (include "offsite.pem" $v.kafka.ca) "cert" (include "offsite.pem" $v.kafka.cert) "key" (include "offsite.pem" $v.kafka.key) "password" (ternary "file:/run/secrets/offsite/kafka_password" "" $sasl) -}}
{{ toToml $top }}
{{ toToml (dict "kafka" $kafka) }}
{{- if $v.influx.url }}
{{ toToml (dict "influx" (dict "url" $v.influx.url "org" $v.influx.org "bucket" $v.influx.bucket "ca" (include "offsite.pem" $v.influx.ca) "token" "file:/run/secrets/offsite/influx_token")) }}
{{- end }}
{{- if $v.archive.options }}
{{ toToml (dict "archive_options" $v.archive.options) }}
{{- end }}
{{ $v.extraSettings }}
{{- end }}

{{/* What the pods of all processes and jobs share: (dict "top" $ "settings" "NAME OF THE CONFIGMAP"). */}}
{{- define "offsite.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .top.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .top.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .top.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "offsite.container" -}}
image: {{ include "offsite.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "offsite.mounts" -}}
- {name: settings, mountPath: /etc/offsite/offsite.toml, subPath: offsite.toml, readOnly: true}
- {name: secrets, mountPath: /run/secrets/offsite, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.certificates.existingSecret }}
- {name: certificates, mountPath: /etc/offsite/certificates, readOnly: true}
{{- end }}
{{- if .Values.plan.configMap }}
- {name: plan, mountPath: /etc/offsite/plan, readOnly: true}
{{- end }}
{{- if .Values.gateway.tlsSecret }}
- {name: gateway-tls, mountPath: /etc/offsite/gateway, readOnly: true}
{{- end }}
{{- if .Values.archive.existingClaim }}
- {name: archive, mountPath: /var/lib/offsite/archive}
{{- end }}
{{- end }}

{{- define "offsite.volumes" -}}
- name: settings
  configMap: {name: {{ .settings }}}
- name: secrets
  secret: {secretName: {{ .top.Values.secrets.existingSecret }}, defaultMode: 0440}
- name: tmp
  emptyDir: {}
{{- with .top.Values.certificates.existingSecret }}
- name: certificates
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .top.Values.plan.configMap }}
- name: plan
  configMap: {name: {{ . }}}
{{- end }}
{{- with .top.Values.gateway.tlsSecret }}
- name: gateway-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .top.Values.archive.existingClaim }}
- name: archive
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}

{{/* Environment of every process. The pod's name is the instance: in a StatefulSet it is the same after a restart. */}}
{{- define "offsite.environment" -}}
- name: OFFSITE_INSTANCE
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: OFFSITE_LOG_FORMAT, value: json}
- {name: OFFSITE_METRICS_HOST, value: 0.0.0.0}
- {name: OFFSITE_METRICS_PORT, value: "9464"}
{{- range $name, $value := .Values.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* Restarted when its loop stands still, not when a server is away; the start may read state back. */}}
{{- define "offsite.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{/* Pods of one process on different nodes where that can be. */}}
{{- define "offsite.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "offsite.selector" . | nindent 8 }}
{{- end }}

{{/* Metadata of a pod: it is made anew when the settings change. */}}
{{- define "offsite.podmeta" -}}
labels: {{ include "offsite.selector" . | nindent 2 }}
annotations:
  checksum/settings: {{ include "offsite.settings" .top | sha256sum }}
  {{- with .top.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
