"""Kernels that are ended by the administrator's policy: which, when, and that people are told."""
import signal
import time

import pytest

from support.processes import wait_until

QUICK = {"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_IDLE_TIMEOUT": "1s", "ELARA_CULL_WARN_BEFORE": "0"}


def why(gateway, kernel_id, **options):
    answer = gateway.get(f"/api/kernels/{kernel_id}/why", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for_end(gateway, kernel_id, timeout=30):
    """The 404's body."""
    return wait_until(lambda: (answer := gateway.get(f"/api/kernels/{kernel_id}")).status_code == 404 and answer.json(),
                      timeout, "the kernel's end")


def test_an_idle_kernel_without_clients_is_ended_with_a_reason(start_gateway):
    gateway = start_gateway(environment=QUICK)
    kernel_id = gateway.start_kernel()["id"]
    ended = wait_for_end(gateway, kernel_id)
    assert ended["reason"].startswith("The kernel was ended because it was idle for ")
    assert ended["reason"].endswith("nobody was connected; the limit is 1 s (cull-idle-timeout).")
    assert gateway.get(f"/api/kernels/{kernel_id}/why").json() == ended
    assert gateway.get("/api/elara/status").json()["culling"]["culled"]["idle"] == 1
    assert f"kernel {kernel_id}: culled by the rule idle" in gateway.log()
    assert not gateway.launcher_pids(kernel_id) and not gateway.kernel_directory(kernel_id).exists()


def test_a_connected_kernel_stays_and_goes_when_its_client_is_gone(start_gateway, connect):
    gateway = start_gateway(environment=QUICK)
    idle, used = (gateway.start_kernel()["id"] for _ in range(2))
    client = connect(gateway, used)
    client.run_cell("print x")
    wait_for_end(gateway, idle)  # as old as the other one
    found = why(gateway, used)
    assert (found["verdict"], found["rule"], found["in_ms"]) == ("keep", "none", None)
    assert found["text"] == "It is kept: somebody is connected to it."
    assert found["fresh"] and found["inputs"]["unattached_for_ms"] == 0 and found["inputs"]["connections"] == 1
    client.close()
    assert "idle" in wait_for_end(gateway, used)["reason"]
