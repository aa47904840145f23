{{- define "internvl.labels" -}}
app.kubernetes.io/name: internvl-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "internvl.selector" -}}
app.kubernetes.io/name: internvl-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Roles outside the operator's own namespace: another release may have the same name in another namespace. */ -}}
{{- define "internvl.rights" -}}
{{- printf "%s:%s" .Release.Namespace .Release.Name -}}
{{- end }}

{{- define "internvl.image" -}}
{{- printf "%s%s:%s" .root.Values.imageRegistry .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end }}

{{- define "internvl.makesPods" -}}
{{- if and .Values.kuberay.enabled (not .Values.rayAddress) }}true{{ end -}}
{{- end }}

{{- /* Rights on services, and where pods are made on what a service is made of. */ -}}
{{- define "internvl.rules" -}}
- apiGroups: [serving.internvl.io]
  resources: [internvlservices]
  verbs: [get, list, watch, patch] # patch: our own finalizer
- apiGroups: [serving.internvl.io]
  resources: [internvlservices/status]
  verbs: [patch]
- apiGroups: [serving.internvl.io]
  resources: [internvlscales] # one for each side whose number is not fixed
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [serving.internvl.io]
  resources: [internvlscales/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if include "internvl.makesPods" . }}
- apiGroups: [ray.io]
  resources: [rayclusters]
  verbs: [get, list, watch, create, patch, delete] # delete, also below: what a service had before its head changed
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create] # the token of each Ray cluster; none is read
{{- if eq "podMonitor" .Values.kuberay.metrics.by }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch] # each goes with its service
{{- end }}
{{- if has "HTTPRoute" .Values.kuberay.routes }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if has "Ingress" .Values.kuberay.routes }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- end }}
{{- end }}

{{- /* Environment of the operator's container: its settings. */ -}}
{{- define "internvl.env" -}}
- {name: INTERNVL_OPERATOR_LEASE_NAME, value: {{ .Release.Name }}}
- {name: INTERNVL_OPERATOR_LEASE_NAMESPACE, value: {{ .Release.Namespace }}}
- {name: INTERNVL_OPERATOR_TOKEN_KEY_SECRET, value: {{ .Release.Name }}-token-key}
{{- with .Values.rayAddress }}
- {name: INTERNVL_OPERATOR_RAY_ADDRESS, value: {{ . | quote }}}
{{- end }}
{{- if include "internvl.makesPods" . }}
- {name: INTERNVL_OPERATOR_PODS_FILE, value: /etc/internvl/pods.yaml}
{{- end }}
{{- with .Values.namespaces }}
- {name: INTERNVL_OPERATOR_NAMESPACES, value: {{ join "," . | quote }}}
{{- end }}
{{- with .Values.prometheus.url }}
- {name: INTERNVL_OPERATOR_PROMETHEUS_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.prometheus.matchers }}
- {name: INTERNVL_OPERATOR_PROMETHEUS_MATCHERS, value: {{ . | quote }}}
{{- end }}
{{- if .Values.prometheus.tokenSecret }}
- {name: INTERNVL_OPERATOR_PROMETHEUS_TOKEN_FILE, value: /etc/internvl-prometheus/token}
{{- end }}
{{- range $name, $value := .Values.operator.settings }}
- {name: INTERNVL_OPERATOR_{{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- /* What the operator's pods and the pod of `helm test` have in common. */ -}}
{{- define "internvl.pod" -}}
serviceAccountName: {{ .Release.Name }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  seccompProfile: {type: RuntimeDefault}
volumes:
  - {name: tmp, emptyDir: {}}
  {{- if include "internvl.makesPods" . }}
  - {name: pods, configMap: {name: {{ .Release.Name }}-pods}}
  {{- end }}
  {{- with .Values.prometheus.tokenSecret }}
  - name: prometheus-token
    secret: {secretName: {{ .name }}, items: [{key: {{ .key }}, path: token}]}
  {{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "internvl.container" -}}
image: {{ include "internvl.image" (dict "root" . "image" .Values.operator.image) }}
imagePullPolicy: {{ .Values.operator.image.pullPolicy }}
env: {{- include "internvl.env" . | nindent 2 }}
resources: {{- toYaml .Values.operator.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if include "internvl.makesPods" . }}
  - {name: pods, mountPath: /etc/internvl, readOnly: true}
  {{- end }}
  {{- if .Values.prometheus.tokenSecret }}
  - {name: prometheus-token, mountPath: /etc/internvl-prometheus, readOnly: true}
  {{- end }}
{{- end }}
