"""manifests/helm, rendered: what the chart makes of its values, and of those of Jupyter Enterprise Gateway's."""
import json
import os
import subprocess

import pytest
import yaml

from kernels import ROOT
from testcluster import chart, parts
from testcluster.chart import CHART, HelmError, Rendered, name_of

pytestmark = pytest.mark.usefixtures("cluster")
OVERLAYS = ROOT / "manifests" / "overlays"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
SPEC = "spec.template.spec"


# -- one source of truth --
def kustomized(directory):
    made = subprocess.run([parts.kubernetes(), "kubectl", "kustomize", directory], check=True, stdout=subprocess.PIPE)
    return {name_of(item): item for item in yaml.safe_load_all(made.stdout)}


def without_order(item):
    """Volumes and their mounts are found by their names; elara.yaml is read."""
    if item["kind"] == "ConfigMap":
        return item | {"data": {name: yaml.safe_load(text) for name, text in item["data"].items()}}
    if item["kind"] == "Deployment":
        pod = item["spec"]["template"]["spec"]
        pod["volumes"].sort(key=lambda volume: volume["name"])
        pod["containers"][0]["volumeMounts"].sort(key=lambda mount: mount["name"])
    return item


def test_the_chart_renders_what_the_overlay_renders():
    """But for the namespace, which Helm makes; and it has a token, and what ends the kernels at `helm uninstall`."""
    overlay, rendered = kustomized(OVERLAYS / "enterprise-gateway"), Rendered({}).objects
    assert set(overlay) - set(rendered) == {("Namespace", None, "enterprise-gateway")}
    assert {name[2] for name in set(rendered) - set(overlay)} == {"elara-token", "elara-uninstall"}
    for name in set(overlay) & set(rendered):
        assert without_order(rendered[name]) == without_order(overlay[name])


@pytest.mark.parametrize("places, directory", [("fixed", "manifests/base"), ("user", "manifests/overlays/namespace-per-user")])
def test_access_and_policies_are_those_of_where_the_kernels_are(places, directory):
    """In the namespace of these manifests, so that they are the same to the letter."""
    settings = {"kubernetes_namespaces": places, "kubernetes_cluster_role": ""}
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "NetworkPolicy", "ServiceAccount", "PodDisruptionBudget")
    theirs = {name: item for name, item in kustomized(ROOT / directory).items() if name[0] in kinds}
    ours = {name: item for name, item in Rendered({"settings": settings}, "elara").objects.items()
            if name[0] in kinds and name[2] != "elara-uninstall"}
    assert ours == theirs


def test_rights_are_those_that_the_settings_need():
    def roles(**settings):
        return {key[2] for key in Rendered({"settings": settings}).objects if key[0] == "ClusterRole"} - {"elara-uninstall"}
    assert roles() == {"elara-kernels", "elara-kernel", "elara-kernel-role"}
    assert roles(kubernetes_cluster_role="") == {"elara-kernels"}
    assert roles(kubernetes_cluster_role="view") == {"elara-kernels", "elara-kernel-role"}
    assert roles(kubernetes_cluster_role="", token_review=True) == {"elara-kernels", "elara-token-review"}
    assert roles(kubernetes_cluster_role="", home_volume="claim") == {"elara-kernels", "elara-home-claims"}
    assert roles(kubernetes_namespaces="fixed") == set()
    given = Rendered({"settings": {"kubernetes_cluster_role": "view"}}).one("ClusterRole", "elara-kernel-role")["rules"]
    assert [rule["resourceNames"] for rule in given if rule["verbs"] == ["bind"]] == [["view"]]


# -- the values of Jupyter Enterprise Gateway's chart --
TOLERATION = {"key": "gateways", "operator": "Exists"}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
TLS = [{"secretName": "tls", "hosts": ["lab.example.com"]}]
PORTS = [{"name": "http", "port": 80, "targetPort": 8888, "nodePort": 30888}, {"name": "http-response", "port": 8877, "targetPort": 8877}]
# The value, what it is here, where, and as what: "setting" is elara.yaml, else a kind and a path in it.
HONOURED = [
    ("image", "registry.example.com/elara:1", f"Deployment {SPEC}.containers.0.image", None),
    ("image", "registry.example.com/elara:1", "setting kubernetes_launcher_image", None),
    ("image", "registry.example.com/elara:1", f"Job {SPEC}.containers.0.image", None),
    ("imagePullPolicy", "Always", f"Deployment {SPEC}.containers.0.imagePullPolicy", None),
    ("authToken", "secret", "Secret elara-token data.token", "c2VjcmV0"),
    ("namespace", "elsewhere", "Deployment metadata.namespace", None),
    ("logLevel", "DEBUG", "setting log_level", None),
    ("mirrorWorkingDirs", False, "setting mirror_working_dirs", None),
    ("global.imagePullSecrets", ["pull"], f"Deployment {SPEC}.imagePullSecrets", [{"name": "pull"}]),
    ("global.commonLabels", {"team": "research"}, "Service metadata.labels.team", "research"),
    ("global.commonLabels", {"team": "research"}, "Deployment spec.template.metadata.labels.team", "research"),
    ("imagePullSecretsCreate.enabled", True, "Secret pull type", "kubernetes.io/dockerconfigjson"),
    ("imagePullSecretsCreate.secrets", [{"name": "pull", "data": "e30="}], "Secret pull data..dockerconfigjson", "e30="),
    ("imagePullSecretsCreate.annotations", {"helm.sh/resource-policy": "keep"}, "Secret pull metadata.annotations", None),
    ("deployment.replicas", 1, "Deployment spec.replicas", None),
    ("deployment.resources", {"limits": {"memory": "5Gi"}}, f"Deployment {SPEC}.containers.0.resources", None),
    ("deployment.terminationGracePeriodSeconds", 60, f"Deployment {SPEC}.terminationGracePeriodSeconds", None),
    ("deployment.serviceAccountName", "enterprise-gateway-sa", f"Deployment {SPEC}.serviceAccountName", None),
    ("deployment.serviceAccountName", "enterprise-gateway-sa", "ClusterRoleBinding elara-kernels subjects.0.name", None),
    ("deployment.annotations", {"iam": "role"}, "ServiceAccount enterprise-gateway-sa metadata.annotations", None),
    ("deployment.nodeSelector", {"disk": "ssd"}, f"Deployment {SPEC}.nodeSelector", None),
    ("deployment.tolerations", [TOLERATION], f"Deployment {SPEC}.tolerations", None),
    ("deployment.affinity", AFFINITY, f"Deployment {SPEC}.affinity", None),
    ("deployment.extraEnv", {"EG_INHERITED_ENVS": "PATH"}, f"Deployment {SPEC}.containers.0.env.1",
     {"name": "EG_INHERITED_ENVS", "value": "PATH"}),
    ("service.type", "NodePort", "Service spec.type", None),
    ("service.externalIPs.k8sMasterPublicIP", "192.0.2.1", "Service spec.externalIPs", ["192.0.2.1"]),
    ("service.ports", PORTS, "Service spec.ports", [PORTS[0] | {"targetPort": "http"}, PORTS[1]]),
    ("ingress.enabled", True, "Ingress metadata.name", "enterprise-gateway-ingress"),
    ("ingress.ingressClassName", "nginx", "Ingress spec.ingressClassName", None),
    ("ingress.hostName", "lab.example.com", "Ingress spec.rules.0.host", None),
    ("ingress.path", "/gateway", "Ingress spec.rules.0.http.paths.0.path", None),
    ("ingress.pathType", "Exact", "Ingress spec.rules.0.http.paths.0.pathType", None),
    ("ingress.annotations", {"a": "b"}, "Ingress metadata.annotations", None),
    ("ingress.tls", TLS, "Ingress spec.tls", None),
    ("kernel.clusterRole", "kernel-controller", "setting kubernetes_cluster_role", None),
    ("kernel.clusterRole", "kernel-controller", "ClusterRole kernel-controller metadata.name", None),
    ("kernel.shareGatewayNamespace", False, "setting kubernetes_namespaces", "kernel"),
    ("kernel.launchTimeout", 60, "setting launch_timeout", None),
    ("kernel.cullIdleTimeout", 3600, "setting cull_idle_timeout", None),
    ("kernel.cullInterval", 60, "setting cull_interval", None),
    ("kernel.cullConnected", True, "setting cull_connected", None),
    ("kernel.allowedKernels", ["r_kubernetes", "python_kubernetes"], "setting allowed_kernelspecs", None),
    ("kernel.defaultKernelName", "r_kubernetes", "setting default_kernel_name", None),
    ("kernel.defaultServiceAccountName", "default", "setting kubernetes_service_account", None),
    ("kernelspecsPvc.enabled", True, f"Deployment {SPEC}.volumes.1.name", "kernelspecs"),
    ("kernelspecsPvc.name", "specs", f"Deployment {SPEC}.volumes.1.persistentVolumeClaim.claimName", None),
]
# Those that leave something out, choose, or are told of have a test each.
ELSEWHERE = {"global.rbac", "deployment.enabled", "nfs.enabled", "nfs.internalServerIPAddress", "kernelspecs.image",
             "kernelspecs.imagePullPolicy", "kernel.infoTimeout", "kip"}
OURS = {"settings", "policy", "serviceMonitor", "prometheusRule", "dashboard"}


def values_of(rows):
    """The tree of values with these paths."""
    tree = {}
    for path, value in rows:
        *groups, last = path.split(".")
        at = tree
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
    return tree


def found(rendered, where):
    kind, *names, path = where.split(" ")
    if kind == "setting":
        return rendered.settings[path]
    at = rendered.one(kind, *(names or {"Service": ["enterprise-gateway"], "Job": ["elara-uninstall"]}.get(kind, [])))
    path, _, dotted = path.partition("..")
    for word in path.split(".") + (["." + dotted] if dotted else []):
        at = at[int(word)] if isinstance(at, list) else at[word]
    return at


def test_every_value_of_the_other_chart_is_honoured():
    rendered = Rendered(values_of([row[:2] for row in HONOURED]))
    for path, value, where, expected in HONOURED:
        assert found(rendered, where) == (value if expected is None else expected), path
    assert rendered.warnings == []


def paths(schema, prefix=""):
    """All that the schema has, but for what is below free objects."""
    for name, part in schema["properties"].items():
        is_group = "properties" in part and name not in ("resources", "affinity")
        yield from paths(part, f"{prefix}{name}.") if is_group else [prefix + name]


def test_no_value_is_forgotten():
    known = {path for path in paths(SCHEMA) if path.split(".")[0] not in OURS}
    tested = {row[0] for row in HONOURED} | {path for path in known if path in ELSEWHERE or path.split(".")[0] in ELSEWHERE}
    assert known == tested


def test_what_does_nothing_here_is_named():
    kip = {"enabled": True, "image": "elyra/kernel-image-puller:dev", "interval": 300, "server": {"protocol": "http"}}
    values = {"image": "elyra/enterprise-gateway:3.2.3", "kernel": {"infoTimeout": 60, "shareGatewayNamespace": True}, "kip": kip,
              "nfs": {"enabled": True, "internalServerIPAddress": "192.0.2.9"}, "kernelspecsPvc": {"enabled": True},
              "kernelspecs": {"image": "elyra/kernelspecs:1"}}
    rendered = Rendered(values)
    assert {line.split(" ")[1]: line.split(" ")[2:4] for line in rendered.warnings} == {
        "image": ["is", "ignored:"], "kernel.infoTimeout": ["is", "ignored:"], "kernel.shareGatewayNamespace": ["differs:", "kernels"],
        "kip.enabled": ["is", "ignored:"], "kip.image": ["is", "ignored:"], "kip.interval": ["is", "ignored:"],
        "kip.server": ["is", "ignored:"], "kernelspecsPvc.enabled": ["is", "ignored:"], "kernelspecs.image": ["is", "ignored:"]}
    assert rendered.pod["containers"][0]["image"] == rendered.settings["kubernetes_launcher_image"] == "elara"
    assert (rendered.settings["kubernetes_namespaces"], rendered.settings["kubernetes_namespace"]) == ("fixed", "elara-kernels")
    assert rendered.has("Namespace", "elara-kernels") and rendered.has("Role", "elara-kernels")
    assert Rendered({"kip": {"enabled": False, "interval": 1}}).warnings == []


def test_the_kernels_one_namespace_has_the_labels_of_those_that_gateways_make():
    """Homes are nfs volumes, which "restricted" forbids."""
    namespace = Rendered({"kernel": {"shareGatewayNamespace": True}}).one("Namespace")["metadata"]
    assert namespace == {"name": "elara-kernels", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}


def test_a_namespace_that_is_there_already_is_not_the_release_s(namespace):
    """It is used, and outlives the release."""
    values = {"settings": {"kubernetes_namespaces": "fixed", "kubernetes_namespace": namespace}}
    assert Rendered(values).one("Namespace")["metadata"]["name"] == namespace
    there = Rendered(values, looks=True)
    assert not there.has("Namespace", namespace) and there.one("Role", "elara-kernels")["metadata"]["namespace"] == namespace


def test_where_kernelspecs_are():
    """nfs goes before the claim, the claim before the image, as there."""
    def volume(**values):
        pod = Rendered(values).pod
        (one,) = [one for one in pod["volumes"] if one["name"] == "kernelspecs"]
        return {name: what for name, what in one.items() if name != "name"}, pod
    nfs = {"enabled": True, "internalServerIPAddress": "192.0.2.9"}
    assert volume(nfs=nfs, kernelspecsPvc={"enabled": True})[0] == {
        "nfs": {"server": "192.0.2.9", "path": "/usr/local/share/jupyter/kernels", "readOnly": True}}
    assert volume()[0] == volume(kernelspecsPvc={"enabled": True}, kernelspecs={"image": "x"})[0]
    for claim in ({}, {"enabled": False}):
        made, pod = volume(kernelspecs={"image": "specs:1", "imagePullPolicy": "Always"}, kernelspecsPvc=claim)
        assert made == {"emptyDir": {"medium": "Memory"}}
        (copy,) = pod["initContainers"]
        assert (copy["image"], copy["imagePullPolicy"], copy["args"]) == ("specs:1", "Always", ["cp", "-r", "/kernels", "/usr/local/share/jupyter"])
        assert copy["volumeMounts"] == [{"name": "kernelspecs", "mountPath": "/usr/local/share/jupyter/kernels"}]
    with pytest.raises(HelmError, match="nothing|neither nfs.enabled nor kernelspecs.image"):
        volume(kernelspecsPvc={"enabled": False})
    with pytest.raises(HelmError, match="nfs.internalServerIPAddress"):
        volume(nfs={"enabled": True})


def test_what_may_be_left_out():
    kinds = {key[0] for key in Rendered({"global": {"rbac": False}}).objects}
    assert kinds == {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service"}
    without = Rendered({"deployment": {"enabled": False}, "ingress": {"enabled": True}}).objects
    assert {key[0] for key in without if key[2] != "elara-uninstall"} == {"ConfigMap", "Secret", "ServiceAccount", "ClusterRole", "ClusterRoleBinding",
                                                                          "Role", "RoleBinding"}
    assert not Rendered({"settings": {"insecure": True}}).has("Secret", "elara-token")


# -- Elara's own --
def test_settings_become_the_file_and_go_before_the_other_values():
    rendered = Rendered({"kernel": {"cullIdleTimeout": 3600, "allowedKernels": []}, "settings": {
        "cull_idle_timeout": "2h", "port": 9999, "kubernetes_install": "second", "inherited_envs": ["TEAM"]}})
    assert rendered.settings.items() >= {"cull_idle_timeout": "2h", "port": 9999, "inherited_envs": ["TEAM"], "allowed_kernelspecs": [],
                                         "provisioner": "kubernetes"}.items()
    assert rendered.pod["containers"][0]["ports"][0]["containerPort"] == 9999
    assert rendered.one("NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"port": 9999}]
    assert rendered.one("Job")["spec"]["template"]["spec"]["containers"][0]["command"] == ["elara", "purge", "--kubernetes-install=second"]


def test_a_policy_lies_beside_the_settings_which_name_it():
    policy = {"variables": {"allow": ["KERNEL_PATH"]}, "images": ["registry.example.org/lab/*"]}
    rendered = Rendered({"policy": policy})
    assert yaml.safe_load(rendered.one("ConfigMap", "elara-settings")["data"]["policy.yaml"]) == policy
    assert rendered.settings["policy"] == "/etc/elara/policy.yaml" and "policy" not in Rendered({}).settings
    places = [mount["mountPath"] for mount in rendered.pod["containers"][0]["volumeMounts"] if mount["name"] == "settings"]
    assert places == ["/etc/elara"]


def test_a_service_monitor_reads_the_gateways_metrics():
    assert not Rendered({}).has("ServiceMonitor", "elara-gateway")
    rendered = Rendered({"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "5s"}})
    monitor, service = rendered.one("ServiceMonitor"), rendered.one("Service")
    assert service["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["interval"]) == (service["spec"]["ports"][0]["name"], "5s")
    assert endpoint["authorization"]["credentials"]["name"] == rendered.one("Secret", "elara-token")["metadata"]["name"]
    assert monitor["metadata"]["labels"] == {"release": "prometheus"}


def test_what_watches_over_it_is_that_of_the_kustomize_component(tmp_path):
    base, monitoring = (os.path.relpath(ROOT / "manifests" / name, tmp_path) for name in ("base", "monitoring"))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], "components": [monitoring]}))
    kinds = ("ServiceMonitor", "PrometheusRule")
    theirs = {name: item for name, item in kustomized(tmp_path).items() if name[0] in kinds or name[2] == "elara-dashboard"}
    values = {name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboard")}
    rendered = Rendered(values, "elara")
    theirs["ServiceMonitor", "elara", "elara-gateway"]["spec"]["endpoints"][0]["interval"] = "30s"
    assert len(theirs) == 3 and theirs.items() <= rendered.objects.items()
    labelled = Rendered(values | {name: {"enabled": True, "labels": {"team": "lab"}} for name in ("prometheusRule", "dashboard")})
    for kind, name in (("PrometheusRule", "elara"), ("ConfigMap", "elara-dashboard")):
        assert labelled.one(kind, name)["metadata"] == {"name": name, "namespace": "enterprise-gateway", "labels": {"team": "lab"}}
        assert not Rendered({}).has(kind, name)


def test_the_token_is_another_one_for_each_install():
    tokens = {Rendered({}).one("Secret", "elara-token")["data"]["token"] for _ in range(2)}
    assert len(tokens) == 2 and min(map(len, tokens)) >= 64


@pytest.mark.parametrize("values, told", [
    ({"replicas": 3}, "at '': additional properties 'replicas' not allowed"),
    ({"deployment": {"replica": 3}}, "at '/deployment': additional properties 'replica' not allowed"),
    ({"kernel": {"cullIdleTimeot": 3}}, "at '/kernel': additional properties 'cullIdleTimeot' not allowed"),
    ({"service": {"ports": [{"name": "http", "prot": 1}]}}, "at '/service/ports/0': additional properties 'prot' not allowed"),
    ({"settings": {"cull_idle_timout": "1h"}}, "at '/settings': additional properties 'cull_idle_timout' not allowed"),
    ({"settings": {"cull_idle_timeout": "soon"}}, "at '/settings/cull_idle_timeout'"),
    ({"policy": {"volume": {}}}, "at '/policy': additional properties 'volume' not allowed"),
    ({"kip": {"enabled": "maybe"}}, "at '/kip/enabled': got string, want null or boolean"),
    ({"deployment": {"extraEnv": {"EG_SHARED_NAMESPACE": "True"}}}, "deployment.extraEnv.EG_SHARED_NAMESPACE: say kernel.shareGatewayNamespace"),
    ({"settings": {"kubernetes_gateway_namespace": "x"}}, "settings.kubernetes_gateway_namespace: "),
])
def test_what_cannot_be_meant_is_refused_with_its_path(values, told):
    with pytest.raises(HelmError) as refused:
        Rendered(values)
    assert told in str(refused.value)


def test_a_packed_chart_is_whole(tmp_path):
    """Its links are files in the archive."""
    chart.helm("package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.glob("*.tgz")
    assert set(Rendered({}, chart=archive).objects) == set(Rendered({}).objects)
