"""Two gateways on one runtime directory: each serves every kernel, whoever has started it."""
import pytest

from support.processes import wait_until


@pytest.fixture
def pair(start_gateway):
    first = start_gateway()
    second = start_gateway(home=first.home)
    return first, second


def listed(gateway):
    return {model["id"] for model in gateway.get("/api/kernels").json()}


def test_kernel_of_one_is_served_by_the_other(pair, connect):
    first, second = pair
    kernel_id = first.start_kernel()["id"]
    with connect(second, kernel_id) as client:  # at once: nobody waits for the news to spread
        assert client.run_cell("print hello").text() == "hello\n"
    assert kernel_id in listed(second)
    assert second.model(kernel_id)["name"] == "stub"
    assert second.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert second.post(f"/api/kernels/{kernel_id}/restart").status_code == 200


def test_kernel_is_listed_without_being_asked_for(pair):
    first, second = pair
    kernel_id = second.start_kernel()["id"]
    wait_until(lambda: kernel_id in listed(first), 10, "the other's kernel in the list")


def test_delete_through_one_is_seen_by_the_other(pair, connect):
    first, second = pair
    kernel_id = first.start_kernel()["id"]
    with connect(second, kernel_id) as client:
        client.kernel_info()
        assert first.delete(f"/api/kernels/{kernel_id}").status_code == 204
        wait_until(lambda: second.get(f"/api/kernels/{kernel_id}").status_code == 404, 10, "404 from the other")
    assert listed(first) == listed(second) == set()


def test_both_delete_at_once(pair):
    first, second = pair
    kernel_id = first.start_kernel()["id"]
    wait_until(lambda: kernel_id in listed(second), 10, "the kernel in both lists")
    assert {gateway.delete(f"/api/kernels/{kernel_id}").status_code for gateway in pair} <= {204, 404}
    assert listed(first) == set()
    wait_until(lambda: listed(second) == set(), 10, "an empty list of the other")


def test_restart_through_one_is_seen_by_the_other(pair, connect):
    first, second = pair
    kernel_id = first.start_kernel()["id"]
    with connect(second, kernel_id) as client:
        before = client.run_cell("pid").text()
        assert first.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
        second.wait_for_state(kernel_id, "idle")
        assert client.run_cell("pid").text() != before


def test_session_with_clients_at_both(pair, connect):
    """A laptop whose connections come through a load balancer: requests of one session through two gateways."""
    first, second = pair
    kernel_id = first.start_kernel()["id"]
    with connect(first, kernel_id, session_id="laptop") as one, connect(second, kernel_id, session_id="laptop") as two:
        for i in range(10):
            assert one.run_cell(f"print {i} one").text() == f"{i} one\n"
            assert two.run_cell(f"print {i} two").text() == f"{i} two\n"


def test_session_of_one_is_known_to_the_other(pair):
    first, second = pair
    body = {"path": "note.ipynb", "name": "", "type": "notebook", "kernel": {"name": "stub"}}
    session = first.post("/api/sessions", json=body).json()
    wait_until(lambda: session["id"] in {each["id"] for each in second.get("/api/sessions").json()}, 10,
               "the session in the other's list")
    assert second.delete(f"/api/sessions/{session['id']}").status_code == 204
    wait_until(lambda: first.get(f"/api/kernels/{session['kernel']['id']}").status_code == 404, 10, "its kernel's end")


def test_dead_launcher_is_told_by_both(start_gateway):
    first = start_gateway("--restart-limit", "0")
    second = start_gateway("--restart-limit", "0", home=first.home)
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle")
    wait_until(lambda: kernel_id in listed(second), 10, "the kernel in both lists")
    import os
    import signal
    (pid,) = first.kernel_pids(kernel_id)
    os.kill(pid, signal.SIGKILL)
    for gateway in (first, second):
        assert "SIGKILL" in gateway.wait_for_state(kernel_id, "dead")["reason"]
    assert second.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: listed(first) == set(), 10, "an empty list of the other")
