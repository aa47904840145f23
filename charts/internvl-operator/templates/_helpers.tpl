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
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if include "internvl.makesPods" . }}
- apiGroups: [ray.io]
  resources: [rayclusters]
  verbs: [get, list, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create] # the token of each Ray cluster; none is read
{{- if eq "podMonitor" .Values.kuberay.metrics.by }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, create, patch, delete]
{{- end }}
{{- if has "HTTPRoute" .Values.kuberay.routes }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, create, patch, delete]
{{- end }}
{{- if has "Ingress" .Values.kuberay.routes }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, create, patch, delete]
{{- end }}
{{- end }}
{{- end }}
