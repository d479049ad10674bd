{{- /* The values as a tree that is the caller's to change, with all groups, also where one was set to null. */ -}}
{{- define "elara.values" -}}
{{- $values := fromYaml (toYaml .Values) -}}
{{- range list "settings" "policy" "global" "imagePullSecretsCreate" "deployment" "service" "ingress" "serviceMonitor" "prometheusRule" "dashboard" "nfs" "kernelspecsPvc" "kernelspecs" "kernel" "kip" -}}
{{- if not (index $values .) }}{{- $_ := set $values . dict }}{{- end -}}
{{- end -}}
{{- toYaml $values -}}
{{- end -}}

{{- define "elara.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{- /* Is the value image that of Jupyter Enterprise Gateway? A values file of that chart may name it. */ -}}
{{- define "elara.isForeignImage" -}}
{{- if regexMatch "(^|/)enterprise-gateway([:@]|$)" (.Values.image | default "") }}yes{{ end -}}
{{- end -}}

{{- define "elara.image" -}}
{{- if not (include "elara.isForeignImage" .) }}{{ .Values.image | default "" }}{{ end -}}
{{- end -}}

{{- /* fixed, user or kernel; Jupyter Enterprise Gateway's true and false are fixed and kernel. */ -}}
{{- define "elara.places" -}}
{{- $said := toString . -}}
{{- get (dict "true" "fixed" "True" "fixed" "false" "kernel" "False" "kernel") $said | default $said -}}
{{- end -}}

{{- /* As the gateway reads a setting that is true or false. */ -}}
{{- define "elara.isOn" -}}
{{- if has (lower (toString .)) (list "true" "yes" "on" "1") }}yes{{ end -}}
{{- end -}}

{{- define "elara.hasToken" -}}
{{- if or .values.authToken (not (include "elara.isOn" .settings.insecure)) }}yes{{ end -}}
{{- end -}}

{{- /* elara.yaml as a tree: that of the overlay, then what JEG's values say, then settings. */ -}}
{{- define "elara.settings" -}}
{{- $values := include "elara.values" . | fromYaml -}}
{{- $settings := .Files.Get "overlays/enterprise-gateway/elara.yaml" | fromYaml -}}
{{- $gateways := (index (index $settings.kubernetes_network_policy.ingress 0).from 0).namespaceSelector.matchLabels -}}
{{- $_ := set $gateways "kubernetes.io/metadata.name" (include "elara.namespace" .) -}}
{{- with include "elara.image" . }}{{- $_ := set $settings "kubernetes_launcher_image" . }}{{- end -}}
{{- range $path, $name := (.Files.Get "jeg.yaml" | fromYaml).settings -}}
{{- $value := $values -}}
{{- range splitList "." $path }}{{- $value = index $value . }}{{- end -}}
{{- if not (kindIs "invalid" $value) }}{{- $_ := set $settings $name $value }}{{- end -}}
{{- end -}}
{{- if $values.policy }}{{- $_ := set $settings "policy" "/etc/elara/policy.yaml" }}{{- end -}}
{{- range $name, $value := $values.settings }}{{- $_ := set $settings $name $value }}{{- end -}}
{{- $_ := set $settings "kubernetes_namespaces" (include "elara.places" $settings.kubernetes_namespaces) -}}
{{- if and (eq $settings.kubernetes_namespaces "fixed") (not $settings.kubernetes_namespace) -}}
{{- $_ := set $settings "kubernetes_namespace" (.Files.Get "base/elara.yaml" | fromYaml).kubernetes_namespace -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{- /* Where kernelspecs come from: nfs, claim or image. */ -}}
{{- define "elara.kernelspecs" -}}
{{- $values := include "elara.values" . | fromYaml -}}
{{- $claim := $values.kernelspecsPvc.enabled -}}
{{- if $values.nfs.enabled -}}
nfs
{{- else if or $claim (and (kindIs "invalid" $claim) (not $values.kernelspecs.image)) -}}
claim
{{- else if $values.kernelspecs.image -}}
image
{{- else -}}
{{- fail "kernelspecsPvc.enabled is false, and neither nfs.enabled nor kernelspecs.image says where the kernelspecs are: set one of the three" -}}
{{- end -}}
{{- end -}}

{{- /* What was said and does nothing, a line for each. */ -}}
{{- define "elara.warnings" -}}
{{- $values := include "elara.values" . | fromYaml -}}
{{- $ignored := (.Files.Get "jeg.yaml" | fromYaml).ignored -}}
{{- $from := include "elara.kernelspecs" . -}}
{{- if include "elara.isForeignImage" . }}
value image is ignored: {{ .Values.image }} is Jupyter Enterprise Gateway; --set image=REGISTRY/elara:{{ .Chart.AppVersion }} names this one's
{{- end }}
{{- if not (kindIs "invalid" $values.kernel.infoTimeout) }}
value kernel.infoTimeout is ignored: {{ index $ignored "kernel.infoTimeout" }}
{{- end }}
{{- if or (kindIs "invalid" $values.kip.enabled) $values.kip.enabled }}
{{- range $name, $_ := $values.kip }}
value kip.{{ $name }} is ignored: {{ $ignored.kip }}
{{- end }}
{{- end }}
{{- if $values.kernel.shareGatewayNamespace }}
value kernel.shareGatewayNamespace differs: kernels share the namespace {{ (include "elara.settings" . | fromYaml).kubernetes_namespace }}, not the gateway's, where keys are
{{- end }}
{{- if and $values.kernelspecs.image (ne $from "image") }}
value kernelspecs.image is ignored: {{ ternary "nfs.enabled" "kernelspecsPvc.enabled" (eq $from "nfs") }} goes first
{{- end }}
{{- if and (eq $from "nfs") $values.kernelspecsPvc.enabled }}
value kernelspecsPvc.enabled is ignored: nfs.enabled goes first
{{- end }}
{{- end -}}
