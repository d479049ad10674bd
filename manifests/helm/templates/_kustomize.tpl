{{- /* The manifests are kustomize's. What it makes of a directory of them, as far as they use it: resources, components,
       and patches that delete an object or are JSON patches (RFC 6902: "replace", and "add" at a list's end). Other patches
       are about the gateway's Deployment, which is this chart's matter.
       root: the chart; directory; out: {objects: [...]}, to which the objects are added. */ -}}
{{- define "elara.kustomize" -}}
{{- $said := .root.Files.Get (printf "%s/kustomization.yaml" .directory) | fromYaml -}}
{{- range concat ($said.resources | default list) ($said.components | default list) -}}
{{- $path := clean (printf "%s/%s" $.directory .) -}}
{{- if hasSuffix ".yaml" $path -}}
{{- include "elara.read" (dict "root" $.root "file" $path "out" $.out) -}}
{{- else -}}
{{- include "elara.kustomize" (dict "root" $.root "directory" $path "out" $.out) -}}
{{- end -}}
{{- end -}}
{{- include "elara.patch" . -}}
{{- end -}}

{{- define "elara.read" -}}
{{- range regexSplit "(?m)^---\n" (.root.Files.Get .file) -1 -}}
{{- $object := fromYaml . -}}
{{- if not $object.kind }}{{- fail (printf "%s: %s" $.file ($object.Error | default "an object without a kind")) }}{{- end -}}
{{- $_ := set $.out "objects" (append $.out.objects $object) -}}
{{- end -}}
{{- end -}}

{{- define "elara.patch" -}}
{{- $said := .root.Files.Get (printf "%s/kustomization.yaml" .directory) | fromYaml -}}
{{- range $patch := $said.patches -}}
{{- $kept := list -}}
{{- range $object := $.out.objects -}}
{{- $is_meant := and (eq $object.kind $patch.target.kind) (eq $object.metadata.name $patch.target.name) -}}
{{- if not (and $is_meant (hasPrefix "$patch: delete" $patch.patch)) -}}
{{- $kept = append $kept $object -}}
{{- end -}}
{{- if and $is_meant (hasPrefix "- " $patch.patch) -}}
{{- range fromYamlArray $patch.patch }}{{- include "elara.operation" (dict "object" $object "operation" .) }}{{- end -}}
{{- end -}}
{{- end -}}
{{- $_ := set $.out "objects" $kept -}}
{{- end -}}
{{- end -}}

{{- define "elara.operation" -}}
{{- $words := splitList "/" .operation.path | rest -}}
{{- $is_append := eq (last $words) "-" -}}
{{- $words = ternary (initial $words) $words $is_append -}}
{{- $at := .object -}}
{{- range initial $words }}{{- $at = index $at (ternary (atoi .) . (kindIs "slice" $at)) }}{{- end -}}
{{- $value := .operation.value -}}
{{- if $is_append }}{{- $value = append (index $at (last $words)) $value }}{{- end -}}
{{- $_ := set $at (last $words) $value -}}
{{- end -}}
