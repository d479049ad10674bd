"""elara doctor where kernels are pods: each fault of the cluster is made for real, and told apart from the others."""
import json
import os
import re
import subprocess

import pytest

from doctors import failed, filtered, text
from homes import ADDRESS, server  # noqa: F401
from kernels import *  # noqa: F403
from kernels import START_S
from support.doctor import findings_of
from testcluster import rights

# The settings of each overlay, with all that its components are for.
WHOLE = ("--home-server", "192.0.2.1", "--home-volume", "claim", "--kubernetes-cluster-role", "elara-kernel", "--token-review",
         "--token-review-namespaces", "users", "--kubernetes-network-policy", '{"podSelector": {}}', "--home-deadline", "500ms")
COMPONENTS = ("home-claims", "kernel-role", "token-review")
OVERLAYS = {
    "fixed": ("base", (), ()),
    "user": ("overlays/namespace-per-user", COMPONENTS, ("--kubernetes-namespaces", "user", *WHOLE)),
    "kernel": ("overlays/namespace-per-kernel", COMPONENTS, ("--kubernetes-namespaces", "kernel", *WHOLE)),
}
MISSING = re.compile(r'(?P<user>\S+) may not (?P<verb>\w+) (?P<resource>\w+)( "(?P<name>[\w-]+)")? (in namespace "(?P<namespace>[\w-]+)"|'
                     r'in the whole cluster) at .*: the (Cluster)?Role (?P<role>[\w-]+) ')


def make_account(kube, namespace, path, name="gateway"):
    """A kubeconfig of a service account that has no rights yet."""
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace)
    return kube.service_account(namespace, name, path)


@pytest.fixture
def doctor(build, cluster, specs, places, tmp_path):
    """doctor(*flags) -> {check: [finding, ...]}; the administrator's unless a kubeconfig is named."""

    def run(*flags, kubeconfig=None, environment=None):
        done = subprocess.run([build / "elara", "doctor", "--json", "--provisioner", "kubernetes", "--kernelspec-dirs", str(specs), "--port", "0",
                               "--kubernetes-gateway-namespace", places[0], "--kubernetes-namespace", places[1],
                               "--kubernetes-launcher-image", "r/elara:1", *flags], capture_output=True, text=True, timeout=120,
                              env={"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig or cluster.kubeconfig)} | (environment or {}))
        return findings_of(done)
    return run


@pytest.mark.parametrize("namespaces", OVERLAYS)
def test_rights_are_those_that_the_manifests_grant(doctor, kube, places, tmp_path, namespaces):
    """Each that is missing is named, with the Role that grants it; with all of them none is."""
    directory, components, flags = OVERLAYS[namespaces]
    objects = rights.rendered(directory, components)
    account = make_account(kube, places[0], tmp_path / "config")
    missing = [MISSING.match(finding["text"]) for finding in doctor(*flags, kubeconfig=account.path)["rights"]]
    assert {one["user"] for one in missing} == {f"system:serviceaccount:{places[0]}:gateway"}
    everywhere = namespaces != "fixed"
    for one in missing:
        is_of_record = one["role"] == "elara-records"
        assert one["namespace"] == (places[0] if is_of_record else None if everywhere else places[1])
    named = {(one["verb"], one["resource"], one["role"], one["name"]) for one in missing}
    wanted = rights.granted(objects)
    # Where the gateway makes namespaces what it does with its own Secrets it may do with all.
    assert {right for right in named if right not in wanted} == (
        {(verb, "secrets", "elara-records", None) for verb in ("create", "patch", "delete")} if everywhere else set())
    assert wanted <= named
    made = rights.grant(kube, objects, "gateway", *places)
    flags = [flag.replace("elara-kernel", f"{places[0]}-gateway-elara-kernel") for flag in flags]
    try:
        assert re.fullmatch(rf"ok: system:serviceaccount:{places[0]}:gateway has all \d+ that these settings need",
                            text(doctor(*flags, kubeconfig=account.path), "rights"))
        assert text(doctor(*flags, "--service-account", "gateway"), "rights").startswith(f"ok: system:serviceaccount:{places[0]}:gateway has all")
    finally:
        rights.revoke(kube, made)


def kubeconfig_with(path, kube, **changes):
    """The administrator's, where the API server is said to be another one."""
    config = json.loads(kube.path.read_text())
    config["clusters"][0]["cluster"] |= changes
    path.write_text(json.dumps(config))
    return path


def test_an_api_server_that_cannot_be_asked(doctor, kube, places, tmp_path):
    """Its name, its address, its certificate and our token fail in ways of their own; nothing else is said to be wrong."""
    def told(**changes):
        findings = doctor(kubeconfig=kubeconfig_with(tmp_path / "config", kube, **changes))
        assert failed(findings) <= {"dns", "api-server", "certificate", "token"}
        return failed(findings), findings
    which, findings = told(server="https://no-such.invalid:6443")
    assert which == {"dns"} and text(findings, "dns").startswith("fail: no-such.invalid (the API server) has no address: ")
    which, findings = told(server="https://127.0.0.1:9")
    assert which == {"api-server"} and "cannot be reached: Connection refused" in text(findings, "api-server")
    (tmp_path / "other.pem").write_text(subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=other", "-keyout",
         tmp_path / "other.key"], check=True, capture_output=True, text=True).stdout)
    which, findings = told(**{"certificate-authority": str(tmp_path / "other.pem")})
    assert which == {"certificate"} and "is not signed by the certificate authority of" in text(findings, "certificate")
    account = make_account(kube, places[0], tmp_path / "account")
    kube.delete("ServiceAccount", "gateway", places[0])
    findings = doctor(kubeconfig=account.path)
    assert failed(findings) == {"token"} and "does not accept context" in text(findings, "token") and "(401 Unauthorized)" in text(findings, "token")
    assert "gets a new token" in findings["token"][0]["fix"]


def test_a_pod_without_its_token(doctor):
    findings = doctor(environment={"KUBERNETES_SERVICE_HOST": "10.245.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBECONFIG": ""})
    assert failed(findings) == {"credentials"} and "/var/run/secrets/kubernetes.io/serviceaccount" in text(findings, "credentials")
    assert "automountServiceAccountToken" in findings["credentials"][0]["fix"]


@pytest.mark.parametrize("shift", ["3600", "-3600"])
def test_an_hour_between_the_clocks(doctor, build, kube, tmp_path, shift):
    (tmp_path / "shift").write_text(shift)
    shifted = {"LD_PRELOAD": str(build / "tests" / "clock_shift.so"), "CLOCK_SHIFT_FILE": str(tmp_path / "shift")}
    config = json.loads(kube.path.read_text())
    config["clusters"][0]["cluster"] = {"server": kube.server, "insecure-skip-tls-verify": True}  # the cluster's may be younger than an hour
    (tmp_path / "config").write_text(json.dumps(config))
    findings = doctor(kubeconfig=tmp_path / "config", environment=shifted)
    assert failed(findings) == {"clock"}
    (off,) = re.findall(r"fail: the API server's is (\d+) s (behind|ahead of) ours", text(findings, "clock"))
    assert abs(int(off[0]) - 3600) < 60 and off[1] == ("behind" if shift == "3600" else "ahead of")
    assert "NTP" in findings["clock"][-1]["fix"] and "the API server's agrees with ours" in text(doctor(), "clock")


def test_the_server_of_homes(doctor, server):  # noqa: F811
    """Its name, whether it answers, whether it lets us in; with --user, whether that one may write where a start would have him."""
    def told(export, *flags, address=ADDRESS):
        return text(doctor("--home-server", address, "--home-export", export, "--home-deadline", "1s", "--kubernetes-uid", "1000",
                           "--kubernetes-gid", "1000", *flags), "homes")
    findings = doctor("--home-server", "no-such.invalid")
    assert failed(findings) == {"dns"} and "no-such.invalid (home-server) has no address" in text(findings, "dns")
    assert "could not be reached within 1 s" in told("/open", address="127.0.0.73")
    assert told("/none").startswith(f"fail: the NFS server {ADDRESS} has no export /none for the gateway: correct home-export")
    assert told("/open").startswith(f"ok: {ADDRESS} exports /open to us; --user NAME tries")
    assert told("/open", "--home-path", "staff/{user}").startswith(f"fail: there is no /open/staff on the NFS server {ADDRESS}: the administrator")
    assert not list((server.folder / "open").iterdir())
    assert told("/open", "--user", "alice") == f"ok: /open/alice on {ADDRESS} can be written by 1000:1000"
    assert server.owner_of("open/alice") == (1000, 1000, 0o700)
    assert "belongs to uid 1000, not to uid 1001" in told("/open", "--user", "alice", "--home-uids", '{"alice": "1001:1001"}')
    assert "does not let root make /squash/bob" in told("/squash", "--user", "bob")
    assert "is read-only: export it for writing (rw)" in told("/fixed", "--user", "bob")
    assert "the uid of bob's kernels is not known here" in told("/open", "--user", "bob", "--kubernetes-uid", "-1")


def policy(name, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def test_pods_that_do_not_run_and_launchers_that_cannot_be_reached(doctor, start_gateway, connect, specs, kube, places, registry,
                                                                         tmp_path):
    specs.add("nowhere", nodeSelector={"elara.test/no": "node"})
    unknown = f"{registry.address}/team/none:1"
    specs.add("unknown", image=unknown)
    gateway = start_gateway()
    ids = {name: gateway.start_kernel(name)["id"] for name in ("python3", "nowhere", "unknown")}
    connect(gateway, ids["python3"]).run_cell("1")
    gateway.wait_for_state(ids["unknown"], "dead", timeout=START_S)
    kube.wait_event(places[1], f"kernel-{ids['nowhere']}-1", "FailedScheduling", START_S)
    findings = doctor()
    assert re.search(rf"^warn: kernel-{ids['nowhere']}-1 in {places[1]}: .*node", text(findings, "pod"), re.MULTILINE)
    assert re.fullmatch(r"warn: 1 kernel: ImagePullBackOff: .*", text(findings, "dead")) and unknown in text(findings, "dead")
    assert text(findings, "network").split("\n")[1] == "ok: 1 of the launchers answers"
    assert text(findings, "network").startswith(f"warn: no NetworkPolicy is about the kernels in {places[1]}")
    assert f"warn: no gateway has one in {places[0]}" in text(findings, "pod")

    kube.create(policy("others", podSelector={"matchLabels": {"app": "other"}}), places[1])
    kube.create(policy("out", podSelector={}, policyTypes=["Egress"]), places[1])
    assert "no NetworkPolicy is about" in text(doctor(), "network")
    kube.create(policy("nobody", podSelector={}), places[1])
    kube.create(policy("kernels", podSelector={"matchLabels": {"app.kubernetes.io/component": "kernel"}}), places[1])
    assert text(doctor(), "network") == "ok: 1 of the launchers answers"
    address = kube.get("Pod", f"kernel-{ids['python3']}-1", places[1])["status"]["podIP"]
    begin = f"fail: the launcher of kernel-{ids['python3']}-1 in {places[1]} cannot be reached at {address} port 8877: "
    with filtered("output", f"ip daddr {address}", "drop"):
        findings = doctor()
        assert text(findings, "network") == begin + "Connection timed out; it is ruled by the NetworkPolicies kernels, nobody"
        assert "NetworkPolicy" in findings["network"][0]["fix"]
        rights.grant(kube, rights.rendered("base"), "gateway", *places)
        account = make_account(kube, places[0], tmp_path / "config")
        assert text(doctor(kubeconfig=account.path), "network") == begin + "Connection timed out; its NetworkPolicies may not be looked at by us"
    with filtered("output", f"ip daddr {address}", "reject with tcp reset"):
        findings = doctor()
        assert text(findings, "network").startswith(begin + "Connection refused; ") and "kubectl logs" in findings["network"][0]["fix"]
