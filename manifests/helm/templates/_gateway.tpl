{{- /* values and settings as trees; deployment, service: the object, which is changed. */ -}}
{{- define "elara.deployment" -}}
{{- $values := .values -}}
{{- $pod := .deployment.spec.template.spec -}}
{{- $container := index $pod.containers 0 -}}
{{- $said := $values.deployment -}}
{{- if not (kindIs "invalid" $said.replicas) }}{{- $_ := set .deployment.spec "replicas" $said.replicas }}{{- end -}}
{{- if not (kindIs "invalid" $said.terminationGracePeriodSeconds) -}}
{{- $_ := set $pod "terminationGracePeriodSeconds" $said.terminationGracePeriodSeconds -}}
{{- end -}}
{{- range $name := list "nodeSelector" "tolerations" "affinity" -}}
{{- with index $said $name }}{{- $_ := set $pod $name . }}{{- end -}}
{{- end -}}
{{- $_ := set $pod "serviceAccountName" .account -}}
{{- include "elara.run" (dict "pod" $pod "container" $container "values" $values "image" .image) -}}
{{- with $said.resources }}{{- $_ := set $container "resources" . }}{{- end -}}
{{- with .settings.port }}{{- $_ := set (index $container.ports 0) "containerPort" (int .) }}{{- end -}}
{{- $_ := set (index $container.env 0).valueFrom.secretKeyRef "optional" true -}}
{{- range $name, $value := $said.extraEnv -}}
{{- $_ := set $container "env" (append $container.env (dict "name" $name "value" (toString $value))) -}}
{{- end -}}
{{- include "elara.mount" (dict "pod" $pod "container" $container "values" $values "from" .from) -}}
{{- end -}}

{{- /* Which image, and how it is pulled. */ -}}
{{- define "elara.run" -}}
{{- with .image }}{{- $_ := set $.container "image" . }}{{- end -}}
{{- with .values.imagePullPolicy }}{{- $_ := set $.container "imagePullPolicy" . }}{{- end -}}
{{- range .values.global.imagePullSecrets -}}
{{- $_ := set $.pod "imagePullSecrets" (append ($.pod.imagePullSecrets | default list) (dict "name" .)) -}}
{{- end -}}
{{- end -}}

{{- /* The kernelspecs: the volume of the base is one kernelspec. */ -}}
{{- define "elara.mount" -}}
{{- $place := "/usr/local/share/jupyter/kernels" -}}
{{- $volume := dict "name" "kernelspecs" -}}
{{- $mount := dict "name" "kernelspecs" "mountPath" $place -}}
{{- if eq .from "nfs" -}}
{{- $server := required "nfs.internalServerIPAddress: nfs.enabled needs the address of the server" .values.nfs.internalServerIPAddress -}}
{{- $_ := set $volume "nfs" (dict "server" $server "path" $place "readOnly" true) -}}
{{- else if eq .from "claim" -}}
{{- $name := .values.kernelspecsPvc.name | default "kernelspecs-pvc" -}}
{{- $_ := set $volume "persistentVolumeClaim" (dict "claimName" $name "readOnly" true) -}}
{{- else -}}
{{- $_ := set $volume "emptyDir" (dict "medium" "Memory") -}}
{{- $copy := dict "name" "kernelspecs" "image" .values.kernelspecs.image "args" (list "cp" "-r" "/kernels" (dir $place)) -}}
{{- $_ := set $copy "volumeMounts" (list (deepCopy $mount)) -}}
{{- $_ := set $copy "securityContext" (deepCopy .container.securityContext) -}}
{{- with .values.kernelspecs.imagePullPolicy }}{{- $_ := set $copy "imagePullPolicy" . }}{{- end -}}
{{- $_ := set .pod "initContainers" (list $copy) -}}
{{- end -}}
{{- $_ := set $mount "readOnly" true -}}
{{- range $list := list (dict "in" .container "member" "volumeMounts" "new" $mount) (dict "in" .pod "member" "volumes" "new" $volume) -}}
{{- $items := list -}}
{{- range index $list.in $list.member }}{{- $items = append $items (ternary $list.new . (eq .name "kernelspecs")) }}{{- end -}}
{{- $_ := set $list.in $list.member $items -}}
{{- end -}}
{{- end -}}

{{- define "elara.service" -}}
{{- $said := .values.service -}}
{{- with $said.type }}{{- $_ := set $.service.spec "type" . }}{{- end -}}
{{- with $said.externalIPs }}{{- with .k8sMasterPublicIP }}{{- $_ := set $.service.spec "externalIPs" (ternary (list .) . (kindIs "string" .)) }}{{- end }}{{- end -}}
{{- with $said.ports -}}
{{- $ports := list -}}
{{- range . -}}
{{- $ports = append $ports (ternary (merge (dict "targetPort" "http") .) . (eq (toString .name) "http")) -}}
{{- end -}}
{{- $_ := set $.service.spec "ports" $ports -}}
{{- end -}}
{{- end -}}

{{- define "elara.ingress" -}}
{{- $said := .values.ingress -}}
{{- $rule := index .ingress.spec.rules 0 -}}
{{- $path := index $rule.http.paths 0 -}}
{{- $_ := set $path "path" ($said.path | default "/") -}}
{{- $_ := set $path "pathType" ($said.pathType | default "Prefix") -}}
{{- with $said.hostName }}{{- $_ := set $rule "host" . }}{{- end -}}
{{- with $said.ingressClassName }}{{- $_ := set $.ingress.spec "ingressClassName" . }}{{- end -}}
{{- with $said.tls }}{{- $_ := set $.ingress.spec "tls" . }}{{- end -}}
{{- with $said.annotations }}{{- $_ := set $.ingress.metadata "annotations" . }}{{- end -}}
{{- end -}}

{{- /* The token of an install stays: it is read from the cluster when none is said. */ -}}
{{- define "elara.token" -}}
{{- $there := (lookup "v1" "Secret" .token.metadata.namespace .token.metadata.name).data | default dict -}}
{{- $token := $there.token | default (randAlphaNum 48 | b64enc) -}}
{{- with .values.authToken }}{{- $token = b64enc (toString .) }}{{- end -}}
{{- $_ := set .token "data" (dict "token" $token) -}}
{{- end -}}
