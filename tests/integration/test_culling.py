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


def stderr_of(client, text, timeout=30):
    """The first stream on stderr that has this text."""
    return client.receive_until(lambda m: m["header"]["msg_type"] == "stream" and m["content"]["name"] == "stderr"
                                and text in m["content"]["text"], timeout)


def test_the_notebook_is_warned_once_and_told_why(start_gateway, connect):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_CONNECTED": "true", "ELARA_CULL_IDLE_TIMEOUT": "2s",
                                                 "ELARA_CULL_WARN_BEFORE": "1s"})
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    for _ in range(2):  # somebody who works on is warned again, once
        cell = client.run_cell("print x").messages[0]["parent_header"]["msg_id"]
        warning = stderr_of(client, "[elara] This kernel will be ended in ")
        assert warning["content"]["text"].endswith("(cull-idle-timeout, cull-connected). Run a cell to keep it.\n")
        assert warning["parent_header"]["msg_id"] == cell
    last = stderr_of(client, "The kernel was ended because it was idle for 2 s")
    assert last["parent_header"]["msg_id"] == cell
    wait_for_end(gateway, kernel_id)
    assert gateway.get("/api/elara/status").json()["culling"]["warned"] == 2


def test_the_reason_outlives_the_gateway(start_gateway):
    gateway = start_gateway(environment=QUICK)
    kernel_id = gateway.start_kernel()["id"]
    ended = wait_for_end(gateway, kernel_id)
    gateway.kill()
    gateway.start()
    assert gateway.get(f"/api/kernels/{kernel_id}").json() == ended


def test_the_reason_of_another_gateways_culling_is_known(start_gateway):
    first = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "0"})
    kernel_id = first.start_kernel()["id"]
    second = start_gateway(environment=QUICK, home=first.home)
    ended = wait_for_end(second, kernel_id)
    assert wait_for_end(first, kernel_id) == ended


def test_the_next_kernel_of_its_place_says_why_the_earlier_one_ended(start_gateway, connect):
    gateway = start_gateway(environment=QUICK)
    place = {"KERNEL_WORKING_DIR": "/home/ann/work", "KERNEL_USERNAME": "ann"}
    wait_for_end(gateway, gateway.start_kernel(env=place)["id"])
    other = gateway.start_kernel(env=place | {"KERNEL_WORKING_DIR": "/home/ann"})["id"]
    next_one = gateway.start_kernel(env=place)["id"]
    gateway.kill()  # it is the kernel's own by now
    gateway.start()
    client, elsewhere = connect(gateway, next_one), connect(gateway, other)
    assert elsewhere.run_cell("print x").text("stderr") == ""
    client.run_cell("print x", silent=True)
    first = client.run_cell("print x")
    assert first.text("stderr").startswith("[elara] The kernel that was here before was ended on 20")
    assert "it was idle for 1 s and nobody was connected; the limit is 1 s" in first.text("stderr")
    kinds = [m["header"]["msg_type"] for m in first.of_type("execute_input", "stream")]
    assert kinds == ["execute_input", "stream", "stream"] and first.text() == "x\n"
    assert client.run_cell("print y").text("stderr") == ""


def test_no_notice_where_it_is_switched_off(start_gateway, connect):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_NOTICE": "false"})
    wait_for_end(gateway, gateway.start_kernel()["id"])
    client = connect(gateway, gateway.start_kernel()["id"])
    assert client.run_cell("print x").text("stderr") == ""


def test_the_limit_of_a_kernelspec(start_gateway):
    gateway = start_gateway("--max-kernels-per-spec", "1")
    gateway.start_kernel("stub-message")
    kernel_id = gateway.start_kernel()["id"]
    refused = gateway.post("/api/kernels", json={"name": "stub"})
    assert refused.status_code == 403
    assert "1 kernels of kernel spec 'stub' are running" in refused.json()["message"]
    gateway.delete(f"/api/kernels/{kernel_id}")
    gateway.start_kernel()
