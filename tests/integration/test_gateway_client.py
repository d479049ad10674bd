"""jupyter_server's gateway client: it reads every frame as UTF-8 text and drops the connection above 10 MiB."""
import contextlib
import json
import socket

import pytest
import websocket

LIMIT = 10 * 1024 * 1024


@pytest.fixture
def server(gateway, kernel, connect):
    """A client that says it is a notebook server, and insists on what one can take."""
    client = connect(gateway, kernel, user_agent="Tornado/6.5.2")
    receive = client.receive

    def checked(timeout=None):
        message = receive(timeout)
        opcode, data = client.last
        assert opcode == websocket.ABNF.OPCODE_TEXT, "one binary frame kills its reader for good"
        assert len(data) < LIMIT, "a frame it would drop the connection for"
        return message

    client.receive = checked
    return client


def test_buffers_are_left_out_with_a_note_and_one_notice_a_cell(server):
    cell = server.run_cell("binary 100\nbinary 100")
    displays = cell.of_type("display_data")
    assert len(displays) == 2
    for display in displays:
        assert display["buffers"] == []
        assert display["content"]["data"] == {"text/plain": "binary"}
        assert display["metadata"], "the metadata says that buffers are missing"
    assert len([m for m in cell.of_type("stream") if m["content"]["name"] == "stderr"]) == 1
    assert cell.reply["status"] == "ok"
    again = server.run_cell("binary 100")
    assert len(again.of_type("stream")) == 1, "the next cell is told again"
    assert server.run_cell("print alive").text() == "alive\n"


def test_long_stream_output_is_split_and_whole(server):
    cell = server.run_cell(f"big {25 * 1024 * 1024}\nprint end", timeout=60)
    assert len(cell.text()) == 25 * 1024 * 1024 + len("end\n")
    assert cell.text().endswith("xxend\n")
    assert len(cell.of_type("stream")) >= 4


def test_too_large_single_output_is_replaced_by_a_notice_with_its_size(server):
    cell = server.run_cell(f"bigdisplay {12 * 1024 * 1024}\nprint after", timeout=60)
    assert not cell.of_type("display_data")
    assert "12" in cell.text("stderr") and "MiB" in cell.text("stderr")
    assert cell.text() == "after\n" and cell.reply["status"] == "ok"


def test_output_just_below_the_limit_passes_untouched(server):
    size = LIMIT - 128 * 1024
    cell = server.run_cell(f"bigdisplay {size}", timeout=60)
    assert len(cell.of_type("display_data")[0]["content"]["data"]["text/plain"]) == size


def test_client_without_a_user_agent_gets_text_too(gateway, kernel, connect):
    """nbclient's client names no user agent and reads text only."""
    client = connect(gateway, kernel, user_agent=None)
    cell = client.run_cell("binary 10")
    assert cell.of_type("display_data")[0]["buffers"] == []
    assert client.last[0] == websocket.ABNF.OPCODE_TEXT


# -- jupyter_client's WebSocket client fails when a kernel takes a second for its first answer, but it waits for its upgrade --

def test_upgrade_without_a_user_agent_waits_for_the_kernel(start_gateway, specs, connect):
    specs.stub("slow", "--start-delay", "1500")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("slow")["id"]
    client = connect(gateway, kernel_id, user_agent=None)
    assert gateway.model(kernel_id)["execution_state"] == "idle"
    assert client.run_cell("print 1").reply["status"] == "ok"


def test_upgrade_waits_no_longer_than_its_client(start_gateway, specs, connect):
    """Which gives it up after the KERNEL_LAUNCH_TIMEOUT that it has sent, or 40 s."""
    specs.stub("mute", "--start-delay", "600000")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("mute", env={"KERNEL_LAUNCH_TIMEOUT": "4"})["id"]
    connect(gateway, kernel_id, user_agent=None)
    (shown,) = gateway.get("/api/elara/kernels").json()
    assert shown["stage"] == "waiting for the kernel to answer", "it is neither ready nor dead"


def test_upgrade_that_waits_ends_with_the_reason_of_a_failed_start(start_gateway, specs, connect):
    specs.add("missing", ["no-such-kernel-program", "{connection_file}"])
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("missing")["id"]
    cell = connect(gateway, kernel_id, user_agent=None).run_cell("print 1")
    assert "no-such-kernel-program" in cell.error["evalue"]


def test_upgrade_that_waits_is_refused_when_the_kernel_is_deleted(start_gateway, specs):
    specs.stub("mute", "--start-delay", "600000")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("mute")["id"]
    upgrade = f"GET /api/kernels/{kernel_id}/channels HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with contextlib.ExitStack() as stack:
        patient, leaving = (stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 30)) for _ in range(2))
        patient.sendall(upgrade.encode())
        leaving.sendall(upgrade.encode())
        gateway.get("/healthz")  # answered after those before it were read
        leaving.close()
        gateway.delete(f"/api/kernels/{kernel_id}")
        assert patient.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_other_clients_on_the_same_kernel_still_get_the_buffers(gateway, kernel, connect, server):
    browser = connect(gateway, kernel, v1=True)
    browser.kernel_info()
    server.run_cell("binary 100")
    display = browser.receive_until(lambda m: m["header"]["msg_type"] == "display_data")
    assert display["buffers"] == [bytes(range(100)), b"second"]


def test_malformed_kernelspec_url_of_a_user_is_not_an_error(gateway):
    """With KERNEL_USERNAME set it asks for /api/kernelspecs?user=NAME/python3."""
    answer = gateway.get("/api/kernelspecs?user=anna/python3")
    assert answer.status_code == 200 and "kernelspecs" in answer.json()


def test_refusals_are_told_in_the_notebook(start_gateway, connect):
    """jupyter_server loses the text of an HTTP error: a limit becomes a kernel that says why it is not there."""
    gateway = start_gateway("--max-kernels", "1")
    with gateway.kernel():
        answer = gateway.post("/api/kernels", json={"name": "stub"}, headers={"User-Agent": "Tornado/6.5.2"})
        assert answer.status_code == 201
        kernel_id = answer.json()["id"]
        client = connect(gateway, kernel_id, user_agent="Tornado/6.5.2")
        cell = client.run_cell("print 1")
        assert cell.reply["status"] == "error" and "1" in cell.error["evalue"]
        model = gateway.model(kernel_id)
        assert model["execution_state"] == "dead" and model["reason"]


def test_standins_have_a_cap(start_gateway):
    gateway = start_gateway("--max-kernels", "1", "--max-failed-kernels", "2")
    with gateway.kernel():
        codes = [gateway.post("/api/kernels", json={"name": "stub"}, headers={"User-Agent": "Tornado/6.5.2"}).status_code
                 for _ in range(4)]
        assert codes == [201, 201, 403, 403]


@pytest.mark.parametrize("style, code", [("http", 403), ("notebook", 201)])
def test_refusal_style_decides_for_all_clients(start_gateway, style, code):
    gateway = start_gateway("--max-kernels", "0", "--refusal-style", style)
    for agent in ("Tornado/6.5.2", "python-requests"):
        answer = gateway.post("/api/kernels", json={"name": "stub"}, headers={"User-Agent": agent})
        assert answer.status_code == code


def test_malformed_requests_stay_http_errors_for_it(gateway):
    agent = {"User-Agent": "Tornado/6.5.2"}
    assert gateway.post("/api/kernels", data="{", headers=agent).status_code == 400
    assert gateway.post("/api/kernels", data=json.dumps({"name": "stub", "env": []}), headers=agent).status_code == 400
    assert gateway.post("/api/kernels", data=json.dumps({"name": "cobol"}), headers=agent).status_code == 404
