{{/* The name of all objects. 43 characters: with `-headless` and the hash of a revision it stays
below the 63 of a label. */}}
{{- define "ropewalk.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ropewalk.headless" -}}
{{ include "ropewalk.fullname" . }}-headless
{{- end -}}

{{/* The domain under which each broker has its name. */}}
{{- define "ropewalk.domain" -}}
{{ include "ropewalk.headless" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* What tells this release from others; the selectors consist of it, and they cannot change. */}}
{{- define "ropewalk.identity" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ropewalk.brokers" -}}
{{ include "ropewalk.identity" . }}
app.kubernetes.io/component: broker
{{- end -}}

{{- define "ropewalk.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "ropewalk.identity" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "ropewalk.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "ropewalk.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "ropewalk.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* What every container of the chart may do: nothing but run. */}}
{{- define "ropewalk.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What `podTemplate` lays over it holds for the pod of `helm test` too. */}}
{{- define "ropewalk.podSecurity" -}}
{{- $own := include "ropewalk.ownPodSecurity" . | fromYaml -}}
{{- mustMergeOverwrite $own (dig "spec" "securityContext" dict .Values.podTemplate) | toYaml -}}
{{- end -}}

{{- define "ropewalk.ownPodSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The settings that the chart makes, which `settings` may not. */}}
{{- define "ropewalk.ownSettings" -}}
server.node_id server.listen server.advertise server.admin_listen server.data_dir server.drain_timeout
cluster.peer_listen cluster.peer_advertise cluster.join cluster.bootstrap cluster.rack
{{- end -}}

{{/* The variables of the broker. */}}
{{- define "ropewalk.env" -}}
{{- $domain := include "ropewalk.domain" . -}}
{{- $name := include "ropewalk.fullname" . -}}
{{- $own := splitList " " (include "ropewalk.ownSettings" . | replace "\n" " ") -}}
{{- $join := list -}}
{{- $bootstrap := list -}}
{{- range $i := until (int .Values.bootstrapNodes) -}}
{{- $join = append $join (printf "%s-%d.%s:9093" $name $i $domain) -}}
{{- $bootstrap = append $bootstrap (toString (add1 $i)) -}}
{{- end -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
# The number at the end of the pod's name, plus 1.
- name: ROPEWALK_SERVER__NODE_ID
  value: hostname
- name: ROPEWALK_SERVER__LISTEN
  value: {{ printf "%s:9092" .Values.listenAddress | quote }}
- name: ROPEWALK_SERVER__ADVERTISE
  value: "$(POD_NAME).{{ $domain }}:9092"
- name: ROPEWALK_SERVER__ADMIN_LISTEN
  value: {{ printf "%s:9094" .Values.listenAddress | quote }}
# Below the mount: a fresh file system has a directory of its own at the top.
- name: ROPEWALK_SERVER__DATA_DIR
  value: /var/lib/ropewalk/data
- name: ROPEWALK_SERVER__DRAIN_TIMEOUT
  value: {{ printf "%ds" (int .Values.drainSeconds) | quote }}
- name: ROPEWALK_CLUSTER__PEER_LISTEN
  value: {{ printf "%s:9093" .Values.listenAddress | quote }}
- name: ROPEWALK_CLUSTER__PEER_ADVERTISE
  value: "$(POD_NAME).{{ $domain }}:9093"
- name: ROPEWALK_CLUSTER__JOIN
  value: {{ join "," $join | quote }}
- name: ROPEWALK_CLUSTER__BOOTSTRAP
  value: {{ join "," $bootstrap | quote }}
{{- with .Values.rackLabel }}
- name: ROPEWALK_CLUSTER__RACK
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['{{ . }}']
{{- end }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
{{- $setting := printf "%s.%s" $section $key }}
{{- if has $setting $own }}
{{- fail (printf "settings: %s is set by the chart itself; leave it out, and see values.yaml for the value that decides it" $setting) }}
{{- end }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
{{- $value = int64 $value }}
{{- end }}
- name: {{ printf "ROPEWALK_%s__%s" $section $key | upper }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container of the broker, before `container` is laid over it. */}}
{{- define "ropewalk.container" -}}
name: ropewalk
image: {{ include "ropewalk.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve]
env:
  {{- include "ropewalk.env" . | nindent 2 }}
ports:
  - name: grpc
    containerPort: 9092
  - name: peer
    containerPort: 9093
  - name: admin
    containerPort: 9094
# A broker that reads a long log back, or waits for a majority, is alive: only a process that does not
# answer is started anew. On the admin port, health speaks of nothing but the process, and a client
# port that is full does not matter.
startupProbe:
  grpc: {port: 9094}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 60
livenessProbe:
  grpc: {port: 9094}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
# grpc.health.v1, on the port that clients use: a broker is ready once its replicas have caught up, so
# that an update or a drain of nodes does not stop the next one before.
readinessProbe:
  grpc: {port: 9092, service: replicas}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
lifecycle:
  preStop:
    sleep:
      seconds: {{ int .Values.preStopSeconds }}
securityContext:
  {{- include "ropewalk.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - name: data
    mountPath: /var/lib/ropewalk
{{- end -}}

{{/* The pod template, before `podTemplate` is laid over it. */}}
{{- define "ropewalk.pod" -}}
metadata:
  # Without versions: what changes here restarts the brokers.
  labels:
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "ropewalk.brokers" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "ropewalk.serviceAccount" . }}
  automountServiceAccountToken: false
  # Settings are variables too: no Service may add any.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add (int .Values.preStopSeconds) (int .Values.drainSeconds) (int .Values.stopMarginSeconds) }}
  securityContext:
    {{- include "ropewalk.podSecurity" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - topologyKey: kubernetes.io/hostname
      maxSkew: 1
      whenUnsatisfiable: {{ .Values.spread.nodes }}
      labelSelector:
        matchLabels:
          {{- include "ropewalk.brokers" . | nindent 10 }}
    - topologyKey: topology.kubernetes.io/zone
      maxSkew: 1
      whenUnsatisfiable: {{ .Values.spread.zones }}
      labelSelector:
        matchLabels:
          {{- include "ropewalk.brokers" . | nindent 10 }}
{{- end -}}

{{/* What the containers of `helm test` have in common. */}}
{{- define "ropewalk.testContainer" -}}
image: {{ include "ropewalk.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "ropewalk.containerSecurity" . | nindent 2 }}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 64Mi}
{{- end -}}
