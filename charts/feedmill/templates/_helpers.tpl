{{- define "feedmill.labels" -}}
app.kubernetes.io/name: feedmill
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "feedmill.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
