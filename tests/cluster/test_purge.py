"""elara purge: what gateways that are gone leave behind, in namespaces that stay."""
import subprocess

from kernels import *  # noqa: F403
from kernels import START_S, pods_of


def purge(build, cluster, places, *flags):
    return subprocess.run([build / "elara", "purge", "--kubeconfig", cluster.kubeconfig, "--kubernetes-gateway-namespace", places[0], *flags],
                          capture_output=True, text=True, timeout=START_S)


def test_a_kernel_whose_gateway_is_gone_goes_with_all_that_it_had(build, cluster, kube, places, start_gateway, connect):
    """But nothing of another installation."""
    ours, theirs = start_gateway(), start_gateway("--kubernetes-install", "theirs")
    for gateway in (ours, theirs):
        connect(gateway, gateway.start_kernel("python3")["id"]).run_cell("1")
    ours.kill()
    purged = purge(build, cluster, places)
    assert (purged.returncode, purged.stdout) == (0, f"1 kernel of the install elara in {places[0]}: nothing is left\n"), purged.stderr
    left = [item for place in places for item in kube.list("Secret", place)] + kube.list("Pod", places[1])
    assert {item["metadata"]["labels"]["elara.install"] for item in left} == {"theirs"}
    assert len(pods_of(kube, places[1])) == 1
    assert purge(build, cluster, places).stdout.startswith("0 kernels ")
    assert [model["execution_state"] for model in theirs.get("/api/kernels").json()] == ["idle"]
    theirs.kill()
    assert purge(build, cluster, places, "--kubernetes-install", "theirs").stdout.startswith("1 kernel ")
    assert pods_of(kube, places[1]) == []
