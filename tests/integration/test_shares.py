"""Kernels that their owner shares with others by name."""
import os
import signal
import uuid

import pytest
import websocket

from support.client import Client
from support.processes import wait_until
from test_auth import token_file

NOT_ALLOWED = 1008


class As:
    """A gateway as one of its users sees it."""

    def __init__(self, gateway, name):
        self.gateway, self.base, self.token = gateway, gateway.base, f"{name}-token"

    def ask(self, method, path, **options):
        return self.gateway.request(method, path, headers={"Authorization": f"token {self.token}"}, **options)

    def status(self, method, path, **options):
        return self.ask(method, path, **options).status_code

    def share(self, kernel_id, user, right):
        answer = self.ask("PUT", f"/api/kernels/{kernel_id}/shares/{user}", json={"right": right})
        assert answer.status_code == 200, answer.text
        return answer.json()["shares"]

    def unshare(self, kernel_id, user):
        answer = self.ask("DELETE", f"/api/kernels/{kernel_id}/shares/{user}")
        assert answer.status_code == 200, answer.text
        return answer.json()["shares"]

    def listed(self):
        return {model["id"]: model for model in self.ask("GET", "/api/kernels").json()}

    def opens(self, kernel_id):
        """The status of the WebSocket's handshake."""
        try:
            Client(self, kernel_id).close()
        except websocket.WebSocketBadStatusException as refused:
            return refused.status_code
        return 101


@pytest.fixture
def start(start_gateway, tmp_path):
    tokens = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"), ("ops", "admin", "ops-token"))
    return lambda **options: start_gateway("--auth-token-file", str(tokens), **options)


@pytest.fixture
def gateway(start):
    return start()


def users(gateway):
    return As(gateway, "anna"), As(gateway, "bert"), As(gateway, "ops")


def start_kernel(user):
    kernel_id = user.ask("POST", "/api/kernels", json={"name": "stub"}).json()["id"]
    wait_until(lambda: user.listed()[kernel_id]["execution_state"] == "idle")
    return kernel_id


def test_who_may_use_a_kernel_runs_code_and_sees_what_others_run(gateway, connect):
    anna, bert, ops = users(gateway)
    kernel_id = start_kernel(anna)
    assert bert.listed() == {} and bert.opens(kernel_id) == 404
    assert anna.share(kernel_id, "bert", "use") == {"bert": "use"}
    assert bert.listed()[kernel_id]["owner"] == "anna" and "owner" not in anna.listed()[kernel_id]
    annas, berts = connect(anna, kernel_id), connect(bert, kernel_id)
    annas.kernel_info(), berts.kernel_info()
    assert berts.run_cell("print hello").text() == "hello\n"
    annas.receive_until(lambda message: message["content"].get("text") == "hello\n")
    details = bert.ask("GET", "/api/elara/kernels").json()[0]
    assert (details["right"], details["owner"], details["keep_max_ms"]) == ("use", "anna", None)
    page = bert.ask("GET", "/elara").text
    assert "Shared by" in page and "do=interrupt" in page and "do=delete" not in page
    assert bert.status("PUT", f"/api/kernels/{kernel_id}/shares/carla", json={"right": "view"}) == 403
    assert ops.ask("GET", f"/api/kernels/{kernel_id}/shares").json() == {"shares": {"bert": "use"}}


def test_his_session_does_not_take_the_kernel_with_it(gateway):
    anna, bert, _ = users(gateway)
    kernel_id = start_kernel(anna)
    anna.share(kernel_id, "bert", "use")
    session = bert.ask("POST", "/api/sessions", json={"path": "b.ipynb", "type": "notebook", "kernel": {"name": "stub", "id": kernel_id}}).json()
    assert session["kernel"]["id"] != kernel_id
    assert bert.status("DELETE", f"/api/sessions/{session['id']}") == 204
    assert anna.status("GET", f"/api/kernels/{kernel_id}") == 200


def test_who_may_look_reads_outputs_and_opens_no_websocket(gateway, connect):
    anna, bert, _ = users(gateway)
    kernel_id = start_kernel(anna)
    connect(anna, kernel_id).run_cell("print seen")
    anna.share(kernel_id, "bert", "view")
    assert "seen" in bert.ask("GET", f"/api/kernels/{kernel_id}/journal").text
    assert bert.opens(kernel_id) == 403
    refusal = bert.ask("POST", f"/api/kernels/{kernel_id}/interrupt")
    assert refusal.status_code == 403 and "anna shares this kernel with you to look at" in refusal.json()["message"]


@pytest.mark.parametrize("less", ["view", None])
def test_what_is_taken_back_closes_the_websocket(gateway, connect, less):
    anna, bert, _ = users(gateway)
    kernel_id = start_kernel(anna)
    anna.share(kernel_id, "bert", "use")
    annas, berts = connect(anna, kernel_id), connect(bert, kernel_id)
    annas.kernel_info(), berts.kernel_info()
    if less:
        anna.share(kernel_id, "bert", less)
    else:
        assert anna.unshare(kernel_id, "bert") == {}
    assert berts.expect_close() == NOT_ALLOWED
    assert annas.run_cell("print still").text() == "still\n"
    assert bert.opens(kernel_id) == (403 if less else 404)
    if not less:
        unknown, taken = uuid.uuid4().hex, bert.ask("GET", f"/api/kernels/{kernel_id}").text
        assert taken.replace(kernel_id, "") == bert.ask("GET", f"/api/kernels/{uuid.UUID(unknown)}").text.replace(str(uuid.UUID(unknown)), "")


def test_every_gateway_knows_it_and_shows_out_who_lost_it(gateway, start, connect):
    other = start(home=gateway.home)
    anna, bert, _ = users(gateway)
    bert_there = As(other, "bert")
    kernel_id = start_kernel(anna)
    wait_until(lambda: kernel_id in As(other, "anna").listed())
    anna.share(kernel_id, "bert", "use")
    wait_until(lambda: bert_there.opens(kernel_id) == 101)
    there = connect(bert_there, kernel_id)
    there.kernel_info()
    anna.unshare(kernel_id, "bert")
    assert there.expect_close() == NOT_ALLOWED
    assert bert_there.opens(kernel_id) == 404


def test_it_outlives_the_gateway_the_launcher_and_a_restart(gateway):
    anna, bert, _ = users(gateway)
    kernel_id = start_kernel(anna)
    anna.share(kernel_id, "bert", "view"), anna.share(kernel_id, "carla", "use"), anna.unshare(kernel_id, "carla")
    gateway.kill()
    gateway.start()
    wait_until(lambda: bert.status("GET", f"/api/kernels/{kernel_id}") == 200)
    assert anna.status("POST", f"/api/kernels/{kernel_id}/restart") == 200
    first = gateway.launcher_pids(kernel_id)
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gateway.launcher_pids(kernel_id) not in ([], first) and anna.listed()[kernel_id]["execution_state"] == "idle", 20)
    assert anna.ask("GET", f"/api/kernels/{kernel_id}/shares").json() == {"shares": {"bert": "view"}}
    assert bert.status("GET", f"/api/kernels/{kernel_id}") == 200 and As(gateway, "ops").status("GET", f"/api/kernels/{kernel_id}") == 200


def test_what_cannot_be_granted(gateway):
    anna, _, _ = users(gateway)
    kernel_id = start_kernel(anna)
    path = f"/api/kernels/{kernel_id}/shares"
    assert anna.share(kernel_id, "nobody-of-this-name", "use") == {"nobody-of-this-name": "use"}
    for user in ("default", "a%2Fb", "%20x", "x" * 129):
        assert "user:" in anna.ask("PUT", f"{path}/{user}", json={"right": "use"}).json()["message"]
    for body in ({}, {"right": "own"}, {"right": 1}, []):
        answer = anna.ask("PUT", f"{path}/bert", json=body)
        assert answer.status_code == 400 and "right:" in answer.json()["message"]
    for number in range(63):
        anna.share(kernel_id, f"user{number}", "view")
    refusal = anna.ask("PUT", f"{path}/one-more", json={"right": "view"})
    assert refusal.status_code == 403 and "64 users" in refusal.json()["message"]
    anna.share(kernel_id, "user0", "use")


def test_a_shared_token_shares_nothing(start_gateway):
    gateway = start_gateway(token="of-all")
    with gateway.kernel() as kernel_id:
        refusal = gateway.request("PUT", f"/api/kernels/{kernel_id}/shares/bert", json={"right": "use"})
    assert refusal.status_code == 403 and "shared by name" in refusal.json()["message"]
