{{- /* All objects, as a list. */ -}}
{{- define "elara.objects" -}}
{{- $values := include "elara.values" . | fromYaml -}}
{{- $settings := include "elara.settings" . | fromYaml -}}
{{- $namespace := include "elara.namespace" . -}}
{{- $account := $values.deployment.serviceAccountName | default "elara-gateway" -}}
{{- $out := dict "objects" list -}}
{{- include "elara.all" (dict "root" . "values" $values "settings" $settings "out" $out) -}}
{{- $facts := dict "values" $values "settings" $settings "namespace" $namespace "account" $account "release" .Release.Name "image" (include "elara.image" .) "from" (include "elara.kernelspecs" .) -}}
{{- range $out.objects }}{{- if eq .kind "Deployment" }}{{- $_ := set $facts "gateway" . }}{{- end }}{{- end -}}
{{- $objects := list -}}
{{- range $object := $out.objects -}}
{{- if include "elara.isWanted" (merge (dict "object" $object) $facts) -}}
{{- include "elara.fit" (merge (dict "object" $object) $facts) -}}
{{- $objects = append $objects $object -}}
{{- end -}}
{{- end -}}
{{- toYaml $objects -}}
{{- end -}}

{{- /* As the files have them: those of the overlay for the kernels' namespaces, and what settings and values ask for. */ -}}
{{- define "elara.all" -}}
{{- $settings := .settings -}}
{{- $overlay := get (dict "fixed" "base" "user" "overlays/namespace-per-user" "kernel" "overlays/namespace-per-kernel") $settings.kubernetes_namespaces -}}
{{- $directories := list $overlay -}}
{{- if and (ne $overlay "base") $settings.kubernetes_cluster_role }}{{- $directories = append $directories "components/kernel-role" }}{{- end -}}
{{- if and (ne $overlay "base") (eq (toString $settings.home_volume) "claim") }}{{- $directories = append $directories "components/home-claims" }}{{- end -}}
{{- if include "elara.isOn" $settings.token_review }}{{- $directories = append $directories "components/token-review" }}{{- end -}}
{{- range $directories }}{{- include "elara.kustomize" (dict "root" $.root "directory" . "out" $.out) }}{{- end -}}
{{- include "elara.patch" (dict "root" .root "directory" "overlays/enterprise-gateway" "out" .out) -}}
{{- $files := list "objects/uninstall" -}}
{{- if include "elara.hasToken" (dict "values" .values "settings" $settings) }}{{- $files = append $files "objects/token" }}{{- end -}}
{{- if .values.ingress.enabled }}{{- $files = append $files "objects/ingress" }}{{- end -}}
{{- if .values.serviceMonitor.enabled }}{{- $files = append $files "monitoring/service-monitor" }}{{- end -}}
{{- if .values.prometheusRule.enabled }}{{- $files = append $files "monitoring/alerts" }}{{- end -}}
{{- range $files }}{{- include "elara.read" (dict "root" $.root "file" (printf "%s.yaml" .) "out" $.out) }}{{- end -}}
{{- $metadata := dict "name" "elara-settings" "namespace" "elara" -}}
{{- $file := dict "apiVersion" "v1" "kind" "ConfigMap" "metadata" $metadata "data" (dict "elara.yaml" (toYaml $settings)) -}}
{{- with .values.policy }}{{- $_ := set $file.data "policy.yaml" (toYaml .) }}{{- end -}}
{{- $_ := set .out "objects" (append .out.objects $file) -}}
{{- if .values.dashboard.enabled -}}
{{- $metadata := dict "name" "elara-dashboard" "namespace" "elara" "labels" (dict "grafana_dashboard" "1") -}}
{{- $board := dict "apiVersion" "v1" "kind" "ConfigMap" "metadata" $metadata "data" (dict "elara.json" (.root.Files.Get "monitoring/dashboard.json")) -}}
{{- $_ := set .out "objects" (append .out.objects $board) -}}
{{- end -}}
{{- if .values.imagePullSecretsCreate.enabled -}}
{{- range .values.imagePullSecretsCreate.secrets -}}
{{- $metadata := dict "name" .name "namespace" "elara" "annotations" ($.values.imagePullSecretsCreate.annotations | default dict) -}}
{{- $secret := dict "apiVersion" "v1" "kind" "Secret" "metadata" $metadata "type" "kubernetes.io/dockerconfigjson" "data" (dict ".dockerconfigjson" .data) -}}
{{- $_ := set $.out "objects" (append $.out.objects $secret) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Helm makes the release's namespace. The kernels' role is this chart's, or there already. */ -}}
{{- define "elara.isWanted" -}}
{{- $kind := .object.kind -}}
{{- $name := .object.metadata.name -}}
{{- $is_access := or (eq $kind "ServiceAccount") (eq $name "elara-uninstall") (hasPrefix "rbac.authorization.k8s.io/" .object.apiVersion) -}}
{{- $is_gateway := and (has $name (list "elara-gateway" "enterprise-gateway" "enterprise-gateway-ingress")) (ne $kind "ServiceAccount") -}}
{{- if and (eq $kind "Namespace") (or (eq $name "elara") (include "elara.isForeign" .)) -}}
{{- else if and $is_access (eq (toString .values.global.rbac) "false") -}}
{{- else if and $is_gateway (eq (toString .values.deployment.enabled) "false") -}}
{{- else if and (eq $kind "ClusterRole") (eq $name "elara-kernel") (not (has .settings.kubernetes_cluster_role (list "elara-kernel" "kernel-controller"))) -}}
{{- else -}}
yes
{{- end -}}
{{- end -}}

{{- /* Is the kernels' one namespace there already, and not of this release? */ -}}
{{- define "elara.isForeign" -}}
{{- $name := toString .settings.kubernetes_namespace -}}
{{- $there := lookup "v1" "Namespace" "" $name -}}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $there -}}
{{- if or (eq $name .namespace) (and $there (ne $owner .release)) }}yes{{ end -}}
{{- end -}}

{{- /* What is there when `helm uninstall` has taken the rest away, and as long as it works. */ -}}
{{- define "elara.hook" -}}
{{- $is_job := eq .object.kind "Job" -}}
{{- $annotations := dict "helm.sh/hook" "post-delete" "helm.sh/hook-weight" (ternary "0" "-1" $is_job) -}}
{{- $_ := set $annotations "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
{{- $_ := set .object.metadata "annotations" $annotations -}}
{{- if $is_job -}}
{{- $pod := .object.spec.template.spec -}}
{{- $container := index $pod.containers 0 -}}
{{- $like := index .gateway.spec.template.spec.containers 0 -}}
{{- $_ := set $pod "securityContext" .gateway.spec.template.spec.securityContext -}}
{{- $_ := set $container "securityContext" $like.securityContext -}}
{{- include "elara.run" (dict "pod" $pod "container" $container "values" .values "image" .image) -}}
{{- with .settings.kubernetes_install -}}
{{- $_ := set $container "command" (append $container.command (printf "--kubernetes-install=%s" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Names, namespaces and labels, and what the values say of an object. */ -}}
{{- define "elara.fit" -}}
{{- $object := .object -}}
{{- $metadata := $object.metadata -}}
{{- $places := dict "elara" .namespace "elara-kernels" .settings.kubernetes_namespace -}}
{{- with $metadata.namespace }}{{- $_ := set $metadata "namespace" (get $places .) }}{{- end -}}
{{- range $object.subjects -}}
{{- $_ := set . "namespace" (get $places .namespace) -}}
{{- if eq .name "elara-gateway" }}{{- $_ := set . "name" $.account }}{{- end -}}
{{- end -}}
{{- if eq $object.kind "Namespace" -}}
{{- $_ := set $metadata "name" (get $places $metadata.name) -}}
{{- if kindIs "map" .settings.kubernetes_namespace_labels }}{{- $_ := set $metadata "labels" .settings.kubernetes_namespace_labels }}{{- end -}}
{{- end -}}
{{- if eq $metadata.name "elara-uninstall" }}{{- include "elara.hook" . }}{{- end -}}
{{- if and (eq $object.kind "ServiceAccount") (eq $metadata.name "elara-gateway") -}}
{{- $_ := set $metadata "name" .account -}}
{{- with .values.deployment.annotations }}{{- $_ := set $metadata "annotations" . }}{{- end -}}
{{- end -}}
{{- if and (eq $object.kind "ClusterRole") (eq $metadata.name "elara-kernel") -}}
{{- $_ := set $metadata "name" .settings.kubernetes_cluster_role -}}
{{- end -}}
{{- if and (eq $object.kind "ClusterRole") (eq $metadata.name "elara-kernel-role") -}}
{{- $_ := set (index $object.rules 1) "resourceNames" (list .settings.kubernetes_cluster_role) -}}
{{- end -}}
{{- if eq $object.kind "NetworkPolicy" }}{{- include "elara.policy" . }}{{- end -}}
{{- if eq $object.kind "Deployment" }}{{- include "elara.deployment" (merge (dict "deployment" $object) .) }}{{- end -}}
{{- if eq $object.kind "Service" }}{{- include "elara.service" (merge (dict "service" $object) .) }}{{- end -}}
{{- if eq $object.kind "Ingress" }}{{- include "elara.ingress" (merge (dict "ingress" $object) .) }}{{- end -}}
{{- if eq $metadata.name "elara-token" }}{{- include "elara.token" (merge (dict "token" $object) .) }}{{- end -}}
{{- if eq $object.kind "ServiceMonitor" -}}
{{- with .values.serviceMonitor.interval }}{{- $_ := set (index $object.spec.endpoints 0) "interval" . }}{{- end -}}
{{- with .values.serviceMonitor.labels }}{{- $_ := set $metadata "labels" . }}{{- end -}}
{{- end -}}
{{- if eq $object.kind "PrometheusRule" }}{{- with .values.prometheusRule.labels }}{{- $_ := set $metadata "labels" . }}{{- end }}{{- end -}}
{{- if eq $metadata.name "elara-dashboard" }}{{- with .values.dashboard.labels }}{{- $_ := set $metadata "labels" . }}{{- end }}{{- end -}}
{{- with .values.global.commonLabels -}}
{{- $_ := set $metadata "labels" (merge ($metadata.labels | default dict) .) -}}
{{- if eq $object.kind "Deployment" }}{{- $_ := set $object.spec.template.metadata "labels" (merge $object.spec.template.metadata.labels .) }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "elara.policy" -}}
{{- range $rule := .object.spec.ingress -}}
{{- range $rule.from }}{{- $_ := set .namespaceSelector.matchLabels "kubernetes.io/metadata.name" $.namespace }}{{- end -}}
{{- if and $.settings.port (eq $.object.metadata.name "elara-gateway") }}{{- $_ := set (index $rule.ports 0) "port" (int $.settings.port) }}{{- end -}}
{{- end -}}
{{- end -}}
