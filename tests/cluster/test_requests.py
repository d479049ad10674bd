"""How often a gateway asks the API server: three times for a start, and never while its kernels are only used."""
import time

import pytest

from kernels import *  # noqa: F403
from kernels import START_S
from testcluster.audit import Account
from testcluster.hollow import TOLERATIONS

START = ["create secrets", "create secrets", "create pods"]  # the record, the key, the pod
QUIET_S = 3  # three times as long as the gateway's clock needs for a tick while anything ages


@pytest.fixture
def account(kube, places, tmp_path):
    return Account(kube, places, tmp_path / "kubeconfig")


@pytest.fixture
def gateway(account, start_gateway, hollow, specs, build):
    specs.add("stub", argv=[str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"], nodeSelector=hollow.selector,
              tolerations=TOLERATIONS)
    return start_gateway(kubeconfig=account.kubeconfig)


def start(gateway):
    kernel_id = gateway.start_kernel("stub")["id"]
    gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
    return kernel_id


def test_requests_of_a_start_and_of_a_kernel_that_is_used(gateway, account, connect):
    start(gateway)
    first = account.asked()
    assert [request for request in first if request in START] == [START[0], *START]  # the gateways' own keys are the first
    assert first.count("watch secrets") == first.count("watch pods") == first.count("watch events") == 1
    account.forget()
    kernel_id = start(gateway)
    assert account.asked() == START
    account.forget()
    client = connect(gateway, kernel_id)
    for _ in range(20):
        client.run_cell("print 1")
    client.close()
    assert gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    for _ in range(20):
        gateway.model(kernel_id)
        gateway.get("/api/kernels")
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        assert account.asked() == []
        time.sleep(0.1)
