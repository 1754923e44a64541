{{/* The name of everything in this release. */}}
{{- define "behalf.fullname" -}}
{{- if contains "behalf" .Release.Name -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-behalf-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the operator's Pods. Network policies of McpServers let Pods of this name in. */}}
{{- define "behalf.selectorLabels" -}}
app.kubernetes.io/name: behalf-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "behalf.labels" -}}
{{ include "behalf.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: behalf
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image reference from registry, repository and digest or tag. Arguments: image, root. */}}
{{- define "behalf.image" -}}
{{- with .root.Values.imageRegistry | default .image.registry }}{{ . }}/{{ end -}}
{{ .image.repository }}
{{- if .image.digest -}}
@{{ .image.digest }}
{{- else -}}
:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Variables that say what the operator serves, which Lease it needs and who it is. */}}
{{- define "behalf.scope" -}}
{{- if .Values.clusterWide -}}
- name: BEHALF_CLUSTER_WIDE
  value: "true"
{{- else -}}
- name: BEHALF_WATCH_NAMESPACES
  value: {{ include "behalf.namespaces" . | fromJsonArray | join "," | quote }}
{{- end }}
- name: BEHALF_LEASE
  value: {{ include "behalf.fullname" . | quote }}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end -}}

{{/* On which nodes Pods of this chart run, and with which credentials their image is pulled. */}}
{{- define "behalf.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "behalf.podSecurity" -}}
runAsNonRoot: true
# Azure Policy's restricted initiative refuses Pods without these two groups.
fsGroup: 65532
supplementalGroups: [65532]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "behalf.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The name of objects that belong to no namespace: releases of the same name in other namespaces have theirs. */}}
{{- define "behalf.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "behalf.fullname" .) -}}
{{- end -}}

{{/* The namespaces that the operator watches, as a JSON list. Not for clusterWide. */}}
{{- define "behalf.namespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | sortAlpha | uniq | toJson -}}
{{- end -}}

{{/* Refuses values that contradict each other. */}}
{{- define "behalf.checkScope" -}}
{{- if and .Values.clusterWide .Values.watchNamespaces -}}
{{- fail "clusterWide and watchNamespaces exclude each other: set clusterWide to false, or leave watchNamespaces empty" -}}
{{- end -}}
{{- end -}}

{{/* What binds the ClusterRole to the operator. */}}
{{- define "behalf.binding" }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "behalf.clusterName" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "behalf.fullname" . }}
    namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* CEL: whether the request comes from the operator. */}}
{{- define "behalf.byTheOperator" -}}
request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "behalf.fullname" . }}'
{{- end -}}

{{/* CEL: the names of the McpServers that control an object. Argument: object or oldObject. */}}
{{- define "behalf.owners" -}}
{{ . }} == null ? [] : {{ . }}.metadata.?ownerReferences.orValue([]).filter(owner, owner.apiVersion.startsWith('behalf.dev/') && owner.kind == 'McpServer' && owner.?controller.orValue(false)).map(owner, owner.name)
{{- end -}}

{{/* The rights of the operator: each verb is one that it uses. */}}
{{- define "behalf.rules" -}}
- apiGroups: [behalf.dev]
  resources: [mcpservers]
  verbs: [list, watch]
- apiGroups: [behalf.dev]
  resources: [mcpservers/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# ReplicaSets that may still create Pods keep an older configuration alive.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
# Created first, with get to see whose an object of the same name is; applied with patch from then on.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# Keyrings and revocations: made once, read by name and replaced; never listed or watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Also without the Gateway API: the operator notices when a cluster begins to serve it.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
