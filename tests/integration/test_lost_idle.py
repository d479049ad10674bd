"""A kernel's own PUB socket drops what does not fit into its queue, before anybody has seen it: libzmq's default is 1000 messages. Outputs are gone
then, but the cell ends and the kernel is idle."""
import pytest

from support.processes import wait_until

CELLS, OUTPUTS = 5, 50_000


@pytest.fixture(params=[["--iopub-hwm", "1000"], ["--iopub-hwm", "1000", "--xpub"]], ids=["PUB", "XPUB"])
def dropping(request, gateway, connect):
    """The id of a stub kernel that has libzmq's default queue, and a client."""
    name = "dropping" + "-xpub" * (len(request.param) > 2)
    gateway.specs.stub(name, *request.param)
    wait_until(lambda: name in gateway.get("/api/kernelspecs").json()["kernelspecs"], 20, "the kernelspec")
    with gateway.kernel(name) as kernel_id:
        yield kernel_id, connect(gateway, kernel_id, v1=True, timeout=60)


@pytest.fixture
def quiet(gateway, kernel, connect):
    """A stub kernel that drops what it is told to (`mute N`)."""
    return kernel, connect(gateway, kernel)


def numbers(cell):
    return [int(m["content"]["text"][-11:-1]) for m in cell.of_type("stream") if m["content"]["name"] == "stdout"]


def is_idle(gateway, kernel_id):
    return gateway.model(kernel_id)["execution_state"] == "idle"


def test_cells_end_when_the_kernel_drops_messages(gateway, dropping):
    kernel_id, client = dropping
    count = 0
    for _ in range(CELLS):
        cell = client.run_cell(f"flood {OUTPUTS} 20")
        assert cell.reply["status"] == "ok" and cell.states.count("idle") == 1
        got = numbers(cell)
        assert got == sorted(set(got)), "in order, nothing twice"
        assert got == [] or (got[0] >= 0 and got[-1] < OUTPUTS)
        count += len(got)
    print(f"{CELLS * OUTPUTS - count:,} of {CELLS * OUTPUTS:,} were dropped")
    wait_until(lambda: is_idle(gateway, kernel_id), 20, "an idle kernel")
    assert client.run_cell("print goes on").text() == "goes on\n"


def test_lost_idle_is_said_when_the_kernel_is_quiet(gateway, quiet):
    kernel_id, client = quiet
    cell = client.run_cell("print before\nmute 1")
    assert cell.text() == "before\n" and cell.states == ["busy", "idle"]
    wait_until(lambda: is_idle(gateway, kernel_id), 20, "an idle kernel")
    assert client.run_cell("print goes on").states == ["busy", "idle"]


def test_cell_of_which_nothing_is_published_ends(gateway, quiet):
    kernel_id, client = quiet
    first, second = client.collect_all([client.send_execute("mute 2"), client.send_execute("print unheard")])
    assert first.states == ["busy", "idle"] and second.states == ["idle"]
    wait_until(lambda: is_idle(gateway, kernel_id), 20, "an idle kernel")


def test_lost_idle_is_said_before_the_next_cell_ends(quiet):
    _, client = quiet
    seen = []
    ids = [client.send_execute("mute 1"), client.send_execute("sleep 100\nprint next")]
    first, second = client.collect_all(ids, on_message=seen.append)
    assert first.states == second.states == ["busy", "idle"] and second.text() == "next\n"
    states = [(ids.index(m["parent_header"]["msg_id"]), m["content"]["execution_state"]) for m in seen
              if m["header"]["msg_type"] == "status" and m["parent_header"].get("msg_id") in ids]
    # it is said when the first one's reply is there, which comes over another socket than the second one's busy
    assert sorted(states[1:3]) == [(0, "idle"), (1, "busy")] and [states[0], states[3]] == [(0, "busy"), (1, "idle")]


def test_control_beside_a_cell_ends_nothing(gateway, quiet):
    """Neither is it in the cell's row, nor is a kernel quiet whose cell runs."""
    kernel_id, client = quiet
    msg_id = client.send_execute("count 40 100")
    client.receive_until(lambda m: m["header"]["msg_type"] == "stream")
    for _ in range(3):
        asked = client.send("kernel_info_request", {}, channel="control")
        client.receive_until(lambda m: m["parent_header"].get("msg_id") == asked and m["content"].get("execution_state") == "idle")
        assert gateway.model(kernel_id)["execution_state"] == "busy"
    cell = client.collect(msg_id)
    assert cell.states == ["idle"]


def test_silent_cell_stays_busy(gateway, quiet):
    """Behind a cell whose idle was lost, one that says nothing for longer than is waited."""
    kernel_id, client = quiet
    ids = [client.send_execute("mute 1"), client.send_execute("sleep 4000\nprint end")]
    client.receive_until(lambda m: m["parent_header"].get("msg_id") == ids[1] and m["content"].get("execution_state") == "busy")
    seen = []
    cell = client.collect(ids[1], on_message=seen.append)
    own = [m["header"]["msg_type"] for m in seen if m["parent_header"].get("msg_id") == ids[1]]
    assert own.index("stream") < own.index("status"), "no idle before its end"
    assert cell.states == ["idle"]
    wait_until(lambda: is_idle(gateway, kernel_id), 20, "an idle kernel")
