"""Kernels as pods, from the first request to the last."""
from kernels import *  # noqa: F403
from kernels import START_S, pods_of, record_of, records_of
from support.processes import wait_until
from test_auth import token_file


def test_a_cell_runs_in_a_restricted_pod(gateway, connect, kube, places):
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id)
    cell = client.run_cell("import os; print(os.getuid(), os.environ['KERNEL_ID'], os.getpid())")
    assert cell.text().split()[:2] == ["1000", kernel_id]
    assert pods_of(kube, places[1]) == [f"kernel-{kernel_id}-1"]
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not pods_of(kube, places[1]), START_S, "the pod's end")
    wait_until(lambda: not kube.list("Secret", places[1]), START_S, "the end of its Secret")
    answer = gateway.get(f"/api/kernels/{kernel_id}")
    assert answer.status_code == 404


def test_a_start_is_on_record_before_it_is_told(gateway, kube, places):
    kernel_id = gateway.start_kernel("python3")["id"]
    (record,) = records_of(kube, places[0])
    assert record["metadata"]["annotations"]["elara.kernel-id"] == kernel_id
    assert record["metadata"]["labels"]["elara.state"] == "live"


def test_the_next_gateway_takes_over(start_gateway, connect):
    first = start_gateway()
    kernel_id = first.start_kernel("python3")["id"]
    connect(first, kernel_id).run_cell("kept = 42")
    first.kill()
    second = start_gateway()
    assert [model["id"] for model in second.get("/api/kernels").json()] == [kernel_id]
    assert connect(second, kernel_id).run_cell("print(kept)").text() == "42\n"


def test_a_deleted_pod_is_told_of_and_replaced(gateway, connect, kube, places):
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id)
    client.run_cell("lost = 1")
    request = client.send_execute("import time; time.sleep(600)")
    gateway.wait_for_state(kernel_id, "busy")
    kube.delete("Pod", f"kernel-{kernel_id}-1", places[1])
    assert "deleted" in client.collect(request).everything()
    gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
    assert client.run_cell("print('lost' in globals())").text() == "False\n"
    wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{kernel_id}-2"], START_S, "the end of the first pod")


def test_any_gateway_serves_any_kernel(start_gateway, connect, kube, places):
    first, second = start_gateway(), start_gateway()
    kernel_id = first.start_kernel("python3")["id"]
    assert second.model(kernel_id)["id"] == kernel_id  # at once, not when its watch has told
    connect(first, kernel_id).run_cell("kept = 42")
    assert connect(second, kernel_id).run_cell("print(kept)").text() == "42\n"
    assert second.delete(f"/api/kernels/{kernel_id}").status_code == 204
    gone = wait_until(lambda: (answer := first.get(f"/api/kernels/{kernel_id}")).status_code == 404 and answer.text, START_S, "its end")
    assert "it was shut down" in gone
    wait_until(lambda: not pods_of(kube, places[1]), START_S, "the pod's end")


def test_what_is_edited_by_hand_is_mended(gateway, connect, kube, places):
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id)
    client.run_cell("kept = 42")
    (record,) = records_of(kube, places[0])
    kube.delete("Secret", record["metadata"]["name"], places[0])
    wait_until(lambda: len(records_of(kube, places[0])) == 1, START_S, "the record")
    (pod,) = pods_of(kube, places[1])
    kube.patch("Pod", pod, places[1], {"metadata": {"labels": {"elara.kind": "other"}}})
    wait_until(lambda: kube.get("Pod", pod, places[1])["metadata"]["labels"]["elara.kind"] == "pod", START_S, "the label")
    assert client.run_cell("print(kept)").text() == "42\n"
    assert pods_of(kube, places[1]) == [pod]


def test_a_kernel_that_dies_starts_again_in_its_pod(gateway, connect, kube, places):
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id)
    cell = client.collect(client.send_execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert "SIGKILL" in cell.everything()
    assert client.run_cell("print('again')").text() == "again\n"
    assert pods_of(kube, places[1]) == [f"kernel-{kernel_id}-1"]


def test_two_gateways_start_a_lost_kernel_anew_once(start_gateway, connect, kube, places):
    first, second = start_gateway(), start_gateway()
    kernel_id = first.start_kernel("python3")["id"]
    connect(first, kernel_id).run_cell("1")
    kube.delete("Secret", f"elara-kernel-{kernel_id}", places[1])  # its pods go with it
    wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{kernel_id}-2"], START_S, "the next pod, and no other")
    assert connect(second, kernel_id).run_cell("print('there')").text() == "there\n"
    assert connect(first, kernel_id).run_cell("print('here')").text() == "here\n"
    wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{kernel_id}-2"], START_S, "the end of the first pod")


def test_who_may_use_a_kernel_is_on_its_record(start_gateway, connect, kube, places, tmp_path):
    tokens = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"))
    first, second = (start_gateway("--auth-token-file", str(tokens)) for _ in range(2))
    first.token, second.token = "anna-token", "bert-token"
    kernel_id = first.start_kernel("python3")["id"]
    connect(first, kernel_id).run_cell("1")
    shares = f"/api/kernels/{kernel_id}/shares"
    for user, right in (("bert", "use"), ("carla", "view")):
        assert first.request("PUT", f"{shares}/{user}", json={"right": right}).status_code == 200
    assert first.delete(f"{shares}/carla").json() == {"shares": {"bert": "use"}}
    assert record_of(records_of(kube, places[0])[0])["shares"] == {"bert": "use"}
    berts = connect(second, kernel_id)
    assert berts.run_cell("print(2)").text() == "2\n"
    first.kill(), second.kill()  # nobody is left who knows it but the record
    kube.delete("Pod", f"kernel-{kernel_id}-1", places[1], grace_s=0)
    first.start(), second.start()
    first.wait_for_state(kernel_id, "idle", timeout=2 * START_S)
    berts = connect(second, kernel_id)
    assert berts.run_cell("print(3)").text() == "3\n"
    assert first.delete(f"{shares}/bert").json() == {"shares": {}}
    assert berts.expect_close() == 1008
    assert record_of(records_of(kube, places[0])[0])["shares"] == {}
