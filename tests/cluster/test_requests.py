"""How often a gateway asks the API server: four times for a start, again when it has no time, and never while its kernels are only
used."""
import time

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from testcluster.api_proxy import ApiProxy
from testcluster.audit import Account
from testcluster.hollow import TOLERATIONS

START = ["create secrets", "create secrets", "create pods", "patch secrets"]  # the record, the key, the pod, that its launcher spoke
START_MAX = 4
QUIET_S = 3  # three times as long as the gateway's clock needs for a tick while anything ages


@pytest.fixture
def account(kube, places, tmp_path):
    return Account(kube, places, tmp_path / "kubeconfig")


@pytest.fixture(autouse=True)
def stub(hollow, specs, build):
    specs.add("stub", argv=[str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"], nodeSelector=hollow.selector,
              tolerations=TOLERATIONS)


@pytest.fixture
def gateway(account, start_gateway):
    return start_gateway(kubeconfig=account.kubeconfig)


def start(gateway):
    kernel_id = gateway.start_kernel("stub")["id"]
    gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
    return kernel_id


def settled(account):
    """What was asked, once nothing more comes."""
    asked, since = account.asked(), time.monotonic()
    while time.monotonic() < since + QUIET_S:
        time.sleep(0.1)
        if (now := account.asked()) != asked:
            asked, since = now, time.monotonic()
    return asked


def test_requests_of_a_start_and_of_a_kernel_that_is_used(gateway, account, connect):
    start(gateway)
    first = settled(account)
    assert [request for request in first if request in START] == [START[0], *START]  # the gateways' own keys are the first
    assert first.count("watch secrets") == first.count("watch pods") == first.count("watch events") == 1
    account.forget()
    kernel_id = start(gateway)
    second = settled(account)
    assert [request for request in second if request in START] == START
    assert len(second) <= START_MAX
    account.forget()
    client = connect(gateway, kernel_id)
    for _ in range(20):
        client.run_cell("print 1")
    client.close()
    assert gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    for _ in range(20):
        gateway.model(kernel_id)
        gateway.get("/api/kernels")
    assert settled(account) == []


def test_an_api_server_that_has_no_time_ends_no_start(start_gateway, kube, places, tmp_path):
    """It was accepted: its steps are done when there is time, until start-deadline."""
    with ApiProxy(tmp_path) as proxy:
        gateway = start_gateway(kubeconfig=proxy.kubeconfig)
        rules = [proxy.add("busy", "POST", "secrets", "elara-kernel-"), proxy.add("busy", "POST", "pods", "kernel-")]
        kernel_id = start(gateway)
        assert all(rule.is_used for rule in rules)
        assert pods_of(kube, places[1]) == [f"kernel-{kernel_id}-1"]
        gateway.stop()
