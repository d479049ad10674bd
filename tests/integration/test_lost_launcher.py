"""A launcher that is killed, and in whose place none can go on, takes its kernel along for good: the clients stay, their cells end with the
reason, and a restart serves the same sockets."""
import os
import signal

import pytest


def lose_launcher(gateway, kernel_id):
    pids = gateway.launcher_pids(kernel_id)
    assert pids
    (gateway.kernel_directory(kernel_id) / "record.json").unlink()  # else another one goes on in its place
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return gateway.wait_for_state(kernel_id, "dead", timeout=40)


def of_cell(messages, msg_id):
    return [m["header"]["msg_type"] for m in messages if m["parent_header"].get("msg_id") == msg_id]


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_both_sockets_of_a_session_go_on_after_the_launcher_was_lost(start_gateway, connect, v1):
    """A notebook server opens two sockets with one session_id."""
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    one, two = (connect(gateway, kernel_id, session_id="lab", v1=v1) for _ in range(2))
    one.run_cell("print before")
    two.run_cell("print before")
    running = one.send_execute("sleep 600000")
    one.receive_until(lambda m: m["header"]["msg_type"] == "execute_input"
                      and m["parent_header"]["msg_id"] == running)
    waiting = one.send_execute("print never")
    reason = lose_launcher(gateway, kernel_id)["reason"]
    assert "launcher" in reason

    seen = []
    cells = one.collect_all([running, waiting], on_message=seen.append)
    for cell in cells:
        assert cell.reply["status"] == "error" and cell.reply["evalue"] == reason
        assert cell.error["evalue"] == reason
        assert len(cell.of_type("execute_reply")) == 1 and len(cell.of_type("error")) == 1
    late = two.run_cell("print late")
    assert late.reply["status"] == "error" and late.error["evalue"] == reason

    answer = gateway.post(f"/api/kernels/{kernel_id}/restart")
    assert answer.status_code == 200 and answer.json()["id"] == kernel_id
    for client, other in ((one, two), (two, one)):
        messages = []
        msg_id = client.send_execute("print again")
        cell = client.collect(msg_id, on_message=messages.append)
        assert cell.text() == "again\n" and cell.reply["status"] == "ok"
        assert sorted(of_cell(messages, msg_id)) == [
            "execute_input", "execute_reply", "status", "status", "stream"], "nothing comes twice"
        assert other.collect(msg_id, on_message=seen.append).text() == "again\n"
    states = [m["content"]["execution_state"] for m in seen if m["header"]["msg_type"] == "status"]
    assert "restarting" not in states, "at which JupyterLab asks the user, once for each"
    assert of_cell(seen, running).count("execute_reply") == 1
    assert gateway.model(kernel_id)["connections"] == 2


def test_cells_of_a_kernel_that_was_deleted_get_no_error_of_a_lost_one(gateway, connect):
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    msg_id = client.send_execute("sleep 600000")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    client.send_execute("print x")
    seen = []
    with pytest.raises(Exception):
        client.receive_until(lambda m: seen.append(m) and False, timeout=10)
    assert "KernelNotRunning" not in str([m["content"] for m in seen])
    assert of_cell(seen, msg_id).count("execute_reply") <= 1
