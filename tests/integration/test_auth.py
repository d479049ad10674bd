"""Tokens, named tokens and ownership."""
import hashlib
import json
import os
import socket
import subprocess
import uuid

import pytest
import websocket

from support.client import Client
from support.processes import wait_until

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def guarded(start_gateway):
    return start_gateway(token=TOKEN)


def status(gateway, path="/api/kernels", **headers):
    return gateway.get(path, headers={"Authorization": "", **headers}).status_code


@pytest.mark.parametrize("value", [f"token {TOKEN}", f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Token {TOKEN}"])
def test_right_token_in_any_usual_spelling(guarded, value):
    assert status(guarded, Authorization=value) == 200


@pytest.mark.parametrize("value", ["", "token ", "token wrong", f"token {TOKEN}x", f"token {TOKEN[:-1]}", TOKEN,
                                   "Basic dXNlcjpwYXNz"])
def test_wrong_token_is_401_with_json(guarded, value):
    answer = guarded.get("/api/kernels", headers={"Authorization": value})
    assert answer.status_code == 401
    assert set(answer.json()) >= {"reason", "message"}


def test_token_in_the_query_counts_and_wins(guarded):
    assert status(guarded, f"/api/kernels?token={TOKEN}") == 200
    assert status(guarded, f"/api/kernels?token=wrong", Authorization=f"token {TOKEN}") == 401


@pytest.mark.parametrize("path", ["/api", "/api/kernels", "/api/kernelspecs", "/api/sessions", "/api/me",
                                  "/kernelspecs/stub/logo-64x64.png", "/api/status"])
def test_every_route_asks_for_the_token(guarded, path):
    assert status(guarded, path) == 401
    assert status(guarded, path, Authorization=f"token {TOKEN}") == 200


def test_probes_options_and_swagger_are_public(guarded):
    for path in ("/healthz", "/readyz", "/api/swagger.json"):
        assert status(guarded, path) == 200
    assert guarded.request("OPTIONS", "/api/kernels", headers={"Authorization": ""}).status_code in (200, 204)


def test_websocket_without_the_token_is_401_and_says_why(guarded):
    with guarded.kernel() as kernel_id:
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            Client(guarded, kernel_id, headers=["Authorization: token wrong"])
        assert refused.value.status_code == 401
        with Client(guarded, kernel_id) as client:
            assert client.run_cell("print in").text() == "in\n"
        with Client(guarded, kernel_id, headers=["Authorization: "], query=f"token={TOKEN}") as client:
            assert client.run_cell("print in").text() == "in\n"


def test_refusal_of_a_websocket_without_any_token_names_the_way_out(guarded):
    """nbclient and papermill cannot send one: whoever reads the answer or the log learns what to do instead."""
    with guarded.kernel() as kernel_id:
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(guarded.base.replace("http", "ws") + f"/api/kernels/{kernel_id}/channels")
        assert refused.value.status_code == 401
        message = json.loads(refused.value.resp_body)["message"]
        assert message.startswith("no token was sent, and nbclient, nbconvert and papermill cannot send one on their WebSocket")
        assert "start a second gateway for them, on loopback without a token" in message and "docs/security.md" in message
        assert f": {message}\n" in guarded.log()


def test_log_says_why_a_token_was_refused_and_never_the_token(guarded):
    """A client that can send one is told how; each refusal is one line."""
    for headers, why in (({}, "no token was sent: send the header 'Authorization: token ...'"),
                         ({"Authorization": "token wr0ng"}, "the token is not known"),
                         ({"Authorization": "Basic wr0ng"}, "the Authorization header must be 'token ...' or 'Bearer ...'")):
        start = len(guarded.log())
        answer = guarded.get("/api/kernels?why", headers={"Authorization": None, **headers})
        assert answer.status_code == 401 and answer.json()["message"].startswith(why)
        lines = [line for line in guarded.log()[start:].splitlines() if "?why" in line]
        assert len(lines) == 1 and lines[0].endswith(f"from 127.0.0.1: {answer.json()['message']}")
    assert guarded.get("/api/kernels?token=wr0ng").status_code == 401
    assert "wr0ng" not in guarded.log() and TOKEN not in guarded.log()


def test_empty_token_header_is_fine_when_none_is_configured(gateway):
    assert gateway.get("/api/kernels", headers={"Authorization": "token "}).status_code == 200


def test_jeg_variables_set_the_token(start_gateway):
    gateway = start_gateway(environment={"EG_AUTH_TOKEN": TOKEN})
    assert status(gateway) == 401
    assert status(gateway, Authorization=f"token {TOKEN}") == 200


def token_file(path, *entries):
    lines = [f"{name}:{role}:sha256:{hashlib.sha256(token.encode()).hexdigest()}" for name, role, token in entries]
    path.write_text("\n".join(["# names, roles, hashes", *lines]) + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def named(start_gateway, tmp_path):
    path = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"),
                      ("ops", "admin", "ops-token"))
    gateway = start_gateway("--auth-token-file", str(path))
    gateway.token = "anna-token"
    return gateway


def as_user(name):
    return {"Authorization": f"token {name}-token"}


def test_named_token_is_the_identity(named):
    assert named.get("/api/me").json()["identity"]["username"] == "anna"
    assert named.get("/api/me", headers=as_user("nobody")).status_code == 401


def test_kernel_of_another_user_does_not_exist(named):
    with named.kernel() as kernel_id:
        bert = as_user("bert")
        path = f"/api/kernels/{kernel_id}"
        assert kernel_id not in [model["id"] for model in named.get("/api/kernels", headers=bert).json()]
        assert named.get(path, headers=bert).status_code == 404
        assert named.delete(path, headers=bert).status_code == 404
        assert named.post(path + "/interrupt", headers=bert).status_code == 404
        assert named.post(path + "/restart", headers=bert).status_code == 404
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            Client(named, kernel_id, headers=["Authorization: token bert-token"])
        assert refused.value.status_code == 404
        assert named.get(path).status_code == 200


def test_session_with_a_foreign_kernel_id_is_as_with_one_that_never_was(named):
    with named.kernel() as foreign:
        bert = as_user("bert")
        for number, wish in enumerate((foreign, str(uuid.uuid4()))):
            answer = named.post("/api/sessions", headers=bert, json={"path": f"{number}.ipynb", "type": "notebook",
                                                                     "kernel": {"name": "stub", "id": wish}})
            assert answer.status_code == 201 and wish not in answer.text, answer.text
            session = f"/api/sessions/{answer.json()['id']}"
            changed = named.request("PATCH", session, headers=bert, json={"kernel": {"id": wish}})
            assert (changed.status_code, changed.json()["message"]) == (400, f"No such kernel: {wish}")


@pytest.mark.parametrize("field, body", [("kernel_id", lambda wish: {"kernel_id": wish}),
                                         ("env: KERNEL_ID", lambda wish: {"env": {"KERNEL_ID": wish}})])
def test_taken_id_is_refused_by_its_field_and_without_the_owner(named, field, body):
    """The one answer that tells of a foreign kernel: an id that is taken cannot be given twice."""
    with named.kernel() as kernel_id:
        for user in ("anna", "bert"):
            answer = named.post("/api/kernels", headers=as_user(user), json={"name": "stub", **body(kernel_id)})
            assert answer.status_code == 409
            assert answer.json()["message"] == f"{field}: there is a kernel {kernel_id} already"


def test_session_of_another_user_does_not_exist(named):
    answer = named.post("/api/sessions", json={"path": "mine.ipynb", "type": "notebook", "kernel": {"name": "stub"}})
    session_id, bert = answer.json()["id"], as_user("bert")
    assert named.get("/api/sessions", headers=bert).json() == []
    assert named.get(f"/api/sessions/{session_id}", headers=bert).status_code == 404
    assert named.delete(f"/api/sessions/{session_id}", headers=bert).status_code in (404, 410)
    theirs = named.post("/api/sessions", headers=bert,
                        json={"path": "mine.ipynb", "type": "notebook", "kernel": {"name": "stub"}})
    assert theirs.status_code == 201 and theirs.json()["id"] != session_id, "the same path of two users is two sessions"


def test_admin_sees_and_uses_all_kernels(named):
    with named.kernel() as kernel_id:
        ops = as_user("ops")
        assert kernel_id in [model["id"] for model in named.get("/api/kernels", headers=ops).json()]
        assert named.post(f"/api/kernels/{kernel_id}/interrupt", headers=ops).status_code == 204


def test_owner_is_told_to_admins_only(named, build):
    with named.kernel() as kernel_id:
        assert "owner" not in named.model(kernel_id)
        assert named.get(f"/api/kernels/{kernel_id}", headers=as_user("ops")).json()["owner"] == "anna"

        def rows(token):
            listed = subprocess.run([build / "elara", "kernels", "--url", named.base], capture_output=True, text=True, timeout=30,
                                    env={"PATH": os.environ["PATH"], "ELARA_TOKEN": token})
            assert listed.returncode == 0, listed.stderr
            heading, *kernels = listed.stdout.splitlines()
            return heading.split()[:4], [line.split()[:4] for line in kernels]

        named.wait_for_state(kernel_id, "idle")
        assert rows("ops-token") == (["ID", "WHO", "KERNELSPEC", "STATE"], [[kernel_id[:8], "anna", "stub", "idle"]])
        assert rows("bert-token")[1] == []


def test_token_file_is_read_again_when_it_changes(start_gateway, tmp_path):
    path = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"))
    gateway = start_gateway("--auth-token-file", str(path))
    assert status(gateway, Authorization="token new-token") == 401
    token_file(tmp_path / "tokens.new", ("anna", "user", "new-token"))
    os.replace(tmp_path / "tokens.new", path)
    wait_until(lambda: status(gateway, Authorization="token new-token") == 200, what="the new token")
    assert status(gateway, Authorization="token anna-token") == 401


def run_gateway(build, *arguments, **environment):
    return subprocess.run([build / "elara-gateway", "--port", "0", *arguments], capture_output=True, text=True,
                          timeout=10, env={"PATH": os.environ["PATH"], **environment})


def test_refuses_to_listen_beyond_loopback_without_a_token(build, tmp_path):
    refused = run_gateway(build, "--ip", "0.0.0.0", "--runtime-dir", str(tmp_path / "run"))
    assert refused.returncode != 0
    assert "token" in refused.stderr and "--insecure" in refused.stderr


def test_insecure_or_a_token_allows_it(start_gateway):
    start_gateway("--ip", "0.0.0.0", "--insecure")
    start_gateway("--ip", "0.0.0.0", token=TOKEN)


def test_loopback_is_where_it_listens_by_default(gateway):
    addresses = {line.split()[1].split(":")[0] for line in open("/proc/net/tcp")
                 if line.split()[3] == "0A" and line.split()[1].endswith(f":{gateway.port:04X}")}
    assert addresses == {"0100007F"}
    assert socket.gethostbyname("localhost").startswith("127.")


@pytest.mark.parametrize("change", ["gone", "viewer", "anothers"])
def test_a_websocket_ends_with_what_its_token_opened(named, tmp_path, connect, change):
    """The file is read again: whose line is gone, or says less, is shown out; the others stay."""
    kernel_id = named.start_kernel()["id"]
    berts = named.request("POST", "/api/kernels", json={"name": "stub"}, headers={"Authorization": "token bert-token"}).json()["id"]
    mine, other = connect(named, kernel_id), connect(named, berts, headers=["Authorization: token bert-token"])
    mine.kernel_info(), other.kernel_info()
    anna = {"gone": [], "viewer": [("anna", "viewer", "anna-token")], "anothers": [("carla", "user", "anna-token")]}[change]
    token_file(tmp_path / "new", *anna, ("bert", "user", "bert-token"), ("ops", "admin", "ops-token")).rename(tmp_path / "tokens")
    assert mine.expect_close() == 1008
    assert other.run_cell("print still").text() == "still\n"
    assert named.get(f"/api/kernels/{kernel_id}", headers={"Authorization": "token ops-token"}).json()["connections"] == 0
