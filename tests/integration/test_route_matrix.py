"""Who gets which answer: docs/security.md has a table of all routes, and each of its cells is asked for here."""
import http.client
import json
import re
import uuid
from pathlib import Path

import pytest
from support.processes import wait_until
from test_auth import token_file

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
WEBSOCKET = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
BODIES = {"POST /api/kernels": {"name": "stub"},
          "POST /api/sessions": {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "stub"}},
          "PATCH /api/sessions/{session_id}": {"path": "b.ipynb"},
          "POST /api/kernels/{kernel_id}/keep": {"for": "1h"},
          "PUT /api/kernels/{kernel_id}/shares/{user}": {"right": "view"},
          "POST /api/elara/cull": {"dry_run": True}}
ASKERS = {"nobody": None, "user": "anna-token", "user: another's": "bert-token", "user: unknown": "bert-token",
          "granted use": "carla-token", "granted view": "dora-token", "admin": "ops-token", "admin: unknown": "ops-token",
          "viewer": "wall-token", "viewer: unknown": "wall-token", "metrics": "graph-token", "own page": "anna-token", "foreign page": "anna-token"}
OF_ONE = ("user: another's", "user: unknown", "granted use", "granted view", "admin: unknown", "viewer: unknown")  # only for requests about one kernel or session


def table():
    rows = re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) [^`]+)` \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    return {route: [cell.strip() for cell in cells.split("|")] for route, cells in rows}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return token_file(tmp_path_factory.mktemp("tokens") / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"),
                      ("carla", "user", "carla-token"), ("dora", "user", "dora-token"), ("ops", "admin", "ops-token"), ("wall", "viewer", "wall-token"),
                      ("graph", "metrics", "graph-token"))


@pytest.fixture
def gateway(start_gateway, tokens):
    gateway = start_gateway("--auth-token-file", str(tokens))
    gateway.token = "anna-token"
    return gateway


def origin_of(gateway, column):
    return {"own page": gateway.base, "foreign page": "http://evil.example"}.get(column)


def ask(gateway, route, ids, token, origin=None, method=None):
    """The status, and the answer's text without what differs for its own sake. method: another than the route's."""
    wanted, path = route.split(" ")
    method = method or wanted
    for name, value in ids.items():
        path = path.replace("{%s}" % name, value)
    path = path.replace("{user}", "bert").replace("/kernelspecs/{name}/{path...}", "/kernelspecs/stub/logo-64x64.png").replace("{name}", "stub")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"token {token}"} if token else {})
    headers |= {"Origin": origin or f"http://127.0.0.1:{gateway.port}"} if origin or path.startswith("/elara") else {}
    headers |= WEBSOCKET if path.endswith("/channels") else {}
    if path == "/elara" and method == "POST":
        path += f"?do=interrupt&kernel={ids['kernel_id']}"
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    body = json.dumps(BODIES[route]) if route in BODIES else None
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = "" if answer.status == 101 else answer.read().decode(errors="replace")
    connection.close()
    for value in ids.values():
        text = text.replace(value, "ID")
    return str(answer.status), text


def anothers(gateway):
    """A kernel of Anna's, in a session of hers; it runs, Carla may use it and Dora may look."""
    session = gateway.post("/api/sessions", json={"path": f"{uuid.uuid4()}.ipynb", "type": "notebook", "kernel": {"name": "stub"}}).json()
    kernel_id = session["kernel"]["id"]
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
    for user, right in (("carla", "use"), ("dora", "view")):
        assert gateway.request("PUT", f"/api/kernels/{kernel_id}/shares/{user}", json={"right": right}).status_code == 200
    return {"kernel_id": kernel_id, "session_id": session["id"]}


def test_each_cell_of_the_table(gateway):
    unknown = {"kernel_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4())}
    expected, seen, differing, annas = table(), {}, [], anothers(gateway)
    for route, cells in expected.items():
        answers = {}
        for column, token in ASKERS.items():
            ids = unknown if column.endswith(": unknown") else annas
            if "_id}" in route or column not in OF_ONE or route == "POST /elara":
                answers[column] = ask(gateway, route, ids, token, origin_of(gateway, column))
                if not route.startswith("GET") and answers[column][0] < "400":  # something was done
                    gateway.delete(f"/api/kernels/{annas['kernel_id']}")
                    annas = anothers(gateway)
        seen[route] = [answers[column][0] if column in answers else "" for column in ASKERS]
        if answers.get("user: another's") != answers.get("user: unknown"):
            differing.append((route, answers["user: another's"], answers["user: unknown"]))
    assert differing == [], "another's kernel answers as one that does not exist"
    assert seen == expected, "\n".join(f"| `{route}` | {' | '.join(cells)} |" for route, cells in seen.items())


def test_the_table_has_all_routes(gateway):
    paths = gateway.get("/api/swagger.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods if method != "parameters"}
    known = {re.sub(r"\{path\.\.\.\}", "{path}", route) for route in table()} - {"GET /elara", "POST /elara"}
    assert {re.sub(r"\{path[.]*\}", "{path}", route) for route in routes} == known


def test_head_is_get_and_options_tells_nobody_anything(gateway):
    unknown, annas = {"kernel_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4())}, anothers(gateway)
    for route in table():
        told = set()
        for column, token in ASKERS.items():
            ids, origin = unknown if column.endswith(": unknown") else annas, origin_of(gateway, column)
            told.add(ask(gateway, route, ids, token, origin, "OPTIONS"))
            if route.startswith("GET") and not route.endswith("/channels"):
                head, text = ask(gateway, route, ids, token, origin, "HEAD")
                assert (head, text) == (ask(gateway, route, ids, token, origin)[0], ""), (route, column)
        assert told == {("200", "")}, route


def test_public_metrics_are_for_everybody(start_gateway, tokens):
    gateway = start_gateway("--auth-token-file", str(tokens), "--metrics-public")
    for column, token in ASKERS.items():
        assert ask(gateway, "GET /metrics", {}, token, origin_of(gateway, column))[0] == "200", column


def test_status_tells_a_user_of_his_own(gateway):
    with gateway.kernel():
        seen = {name: gateway.get("/api/elara/status", headers={"Authorization": f"token {name}-token"}).json() for name in ("anna", "bert", "wall", "ops")}
    assert [status["kernels"]["live"] for status in seen.values()] == [1, 0, 1, 1]
    assert seen["anna"]["http"] is seen["bert"]["http"] is None and "culled" in seen["ops"]["culling"]
    assert set(seen["bert"]["culling"]) == {"next_pass_ms", "quiet_ms", "policy"}
    assert seen["wall"]["http"]["connections"] >= 1


def test_a_grantee_sees_the_kernel_and_not_its_notebook(gateway):
    ids = anothers(gateway)
    for name in ("anna", "carla", "dora", "ops", "wall"):
        [model] = gateway.get("/api/elara/kernels", headers={"Authorization": f"token {name}-token"}).json()
        assert model["id"] == ids["kernel_id"] and (model["session"] is None) == (name in ("carla", "dora"))
