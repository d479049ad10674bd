"""REST routes: status codes, bodies, headers."""
import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import yaml

from support.processes import wait_until

LAST_ACTIVITY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
STATES = {"starting", "idle", "busy", "restarting", "dead"}


def check_kernel_model(model, name="stub"):
    assert set(model) <= {"id", "name", "last_activity", "execution_state", "connections", "owner", "reason", "message"}
    assert re.fullmatch(r"\w+-\w+-\w+-\w+-\w+", model["id"])
    assert model["name"] == name
    assert LAST_ACTIVITY.fullmatch(model["last_activity"])
    assert model["execution_state"] in STATES
    assert isinstance(model["connections"], int)


def check_error(answer, status, *words):
    """{reason, message}, and the words a person needs."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert isinstance(body["reason"], str) and isinstance(body["message"], str)
    assert "Traceback" not in answer.text
    for word in words:
        assert word in body["reason"] + body["message"], body


def test_api_names_versions(gateway):
    body = gateway.get("/api").json()
    assert isinstance(body["version"], str) and isinstance(body["gateway_version"], str)


def test_healthz_and_readyz_answer_200(gateway):
    assert gateway.get("/healthz").status_code == 200
    assert gateway.get("/readyz").status_code == 200


def test_status_counts_kernels_and_connections(gateway, client):
    body = gateway.get("/api/status").json()
    assert body["kernels"] >= 1 and body["connections"] >= 1
    assert LAST_ACTIVITY.fullmatch(body["last_activity"]) and LAST_ACTIVITY.fullmatch(body["started"])


def test_me_names_the_identity(gateway):
    body = gateway.get("/api/me").json()
    assert isinstance(body["identity"]["username"], str) and isinstance(body["identity"]["name"], str)
    assert "permissions" in body


def test_swagger_json_is_public_and_lists_the_routes(gateway):
    answer = gateway.get("/api/swagger.json")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    assert {"get", "post"} <= set(paths["/api/kernels"]) and {"get", "delete"} <= set(paths["/api/kernels/{kernel_id}"])


def test_swagger_yaml_says_the_same(gateway):
    answer = gateway.get("/api/swagger.yaml")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/x-yaml")
    assert yaml.safe_load(answer.text) == gateway.get("/api/swagger.json").json()


def test_unknown_path_is_404_json(gateway):
    check_error(gateway.get("/api/nothing"), 404)
    check_error(gateway.get("/"), 404)


@pytest.mark.parametrize("method, path", [("PUT", "/api"), ("PATCH", "/api/kernels"), ("POST", "/api/kernelspecs"),
                                          ("GET", "/api/kernels/{id}/restart"), ("PUT", "/api/kernels/{id}")])
def test_wrong_method_is_405_and_names_the_right_ones(gateway, kernel, method, path):
    answer = gateway.request(method, path.format(id=kernel))
    check_error(answer, 405)
    assert answer.headers["Allow"]


@pytest.mark.parametrize("path", [
    "/api", "/api/kernels", "/api/kernels/{id}", "/api/kernels/{id}/restart", "/api/kernels/{id}/interrupt",
    "/api/kernels/{id}/channels", "/api/kernelspecs", "/api/kernelspecs/stub", "/kernelspecs/stub/logo-64x64.png",
    "/api/sessions", "/api/sessions/{id}", "/api/swagger.json"])
def test_options_is_answered_on_every_route(gateway, kernel, path):
    answer = gateway.request("OPTIONS", path.format(id=kernel))
    assert answer.status_code == 200 and answer.content == b"" and "OPTIONS" in answer.headers["Allow"]


def test_options_where_nothing_is_served(gateway):
    check_error(gateway.request("OPTIONS", "/api/none"), 404)


def test_answers_carry_nosniff(gateway):
    assert gateway.get("/api").headers["X-Content-Type-Options"] == "nosniff"
    assert gateway.get("/api/nothing").headers["X-Content-Type-Options"] == "nosniff"


# -- kernels --

def test_post_kernel_answers_201_with_model_and_location(gateway):
    answer = gateway.post("/api/kernels", json={"name": "stub"})
    assert answer.status_code == 201
    model = answer.json()
    check_kernel_model(model)
    assert answer.headers["Location"] == f"/api/kernels/{model['id']}"
    assert model["execution_state"] == "starting" and model["connections"] == 0
    assert gateway.delete(f"/api/kernels/{model['id']}").status_code == 204


@pytest.mark.parametrize("body", [None, "", "{}"])
def test_post_kernel_without_a_name_starts_the_default(gateway, body):
    answer = gateway.post("/api/kernels", data=body)
    assert answer.status_code == 201
    check_kernel_model(answer.json(), "python3")
    gateway.delete(f"/api/kernels/{answer.json()['id']}")


def test_post_kernel_as_text_plain_is_read_as_json(gateway):
    answer = gateway.post("/api/kernels", data='{"name": "stub"}',
                          headers={"Content-Type": "text/plain;charset=UTF-8"})
    assert answer.status_code == 201 and answer.json()["name"] == "stub"
    gateway.delete(f"/api/kernels/{answer.json()['id']}")


def test_post_kernel_with_a_whole_environment_keeps_only_what_is_allowed(gateway, connect):
    environment = {f"JUNK_{i}": "$(`nasty`)\n" * 40 for i in range(500)}
    environment |= {"KERNEL_GREETING": "hello", "PATH": "/nowhere", "JPY_SESSION_NAME": "/a/b.ipynb"}
    assert len(json.dumps(environment)) > 200_000
    with gateway.kernel(env=environment) as kernel_id:
        client = connect(gateway, kernel_id)
        assert client.run_cell("env KERNEL_GREETING").text() == "hello\n"
        assert client.run_cell("env JUNK_7").text() == "(unset)\n"
        assert client.run_cell("env PATH").text() != "/nowhere\n"
        assert client.run_cell("env JPY_SESSION_NAME").text() == "(unset)\n"


def test_variables_that_the_administrator_names_reach_the_kernel(start_gateway, connect):
    """But for what describes the notebook server's own process."""
    gateway = start_gateway("--client-envs", "JUPYTERHUB_USER,JPY_SESSION_NAME,JPY_PARENT_PID")
    sent = {"JUPYTERHUB_USER": "ada", "JUPYTERHUB_HOST": "hub", "JPY_SESSION_NAME": "/a/b.ipynb", "JPY_PARENT_PID": "1"}
    with gateway.kernel(env=sent) as kernel_id:
        client = connect(gateway, kernel_id)
        shown = {name: client.run_cell(f"env {name}").text() for name in sent}
    assert shown == dict.fromkeys(sent, "(unset)\n") | {"JUPYTERHUB_USER": "ada\n", "JPY_SESSION_NAME": "/a/b.ipynb\n"}


@pytest.mark.parametrize("method, path, body, field", [
    ("POST", "/api/kernels", '{"name": "st\\u0000ub"}', "name:"),
    ("POST", "/api/kernels", '{"name": "stub", "path": "\\u0000"}', "path:"),
    ("POST", "/api/kernels", '{"env": {"KERNEL_A": "fine", "KERNEL_B": "\\u0000"}}', "env: KERNEL_B:"),
    ("POST", "/api/kernels", '{"env": {"KERNEL_\\u0000": "x"}}', "a member's name"),
    ("POST", "/api/kernels", '"\\u0000"', "the body:"),
    ("POST", "/api/sessions", '{"path": "a", "type": "notebook", "kernel": {"name": "\\u0000"}}', "kernel: name:"),
    ("PATCH", "/api/sessions/{id}", '{"path": ["a", "\\u0000"]}', "path: 1:"),
    ("POST", "/api/kernels/{id}/interrupt", '{"x": "\\u0000"}', None)])
def test_nul_in_a_body_is_refused_by_the_fields_name(gateway, kernel, method, path, body, field):
    if "sessions/{id}" in path:
        session = gateway.post("/api/sessions", json={"path": "nul", "type": "notebook", "kernel": {"id": kernel}})
        path = path.format(id=session.json()["id"])
    answer = gateway.request(method, path.format(id=kernel), data=body)
    if field is None:
        assert answer.status_code == 204, "the body says nothing there"
        return
    check_error(answer, 400, field, "must not hold a NUL character (\\u0000)")
    assert "JSON_" not in answer.text, "the parser's own words"


def test_post_unknown_kernelspec_is_404_with_the_name(gateway):
    check_error(gateway.post("/api/kernels", json={"name": "cobol"}), 404, "cobol")


def test_post_kernel_takes_a_given_kernel_id(gateway):
    wish = str(uuid.uuid4())
    with gateway.kernel(env={"KERNEL_ID": wish}) as kernel_id:
        assert kernel_id == wish
        assert gateway.post("/api/kernels", json={"name": "stub", "env": {"KERNEL_ID": wish}}).status_code == 409


def test_get_kernel_and_list_agree(gateway, kernel):
    listed = {model["id"]: model for model in gateway.get("/api/kernels").json()}
    check_kernel_model(listed[kernel])
    one = gateway.model(kernel)
    check_kernel_model(one)
    assert (one["id"], one["name"]) == (listed[kernel]["id"], listed[kernel]["name"])


def test_bare_cache_buster_query_is_ignored(gateway, kernel):
    assert gateway.get("/api/kernels?1763724000000").status_code == 200
    assert gateway.get(f"/api/kernels/{kernel}?1763724000000").status_code == 200
    assert gateway.post(f"/api/kernels/{kernel}/interrupt?1763724000000").status_code == 204
    assert gateway.get("/api/kernelspecs?a=b&1763724000000").status_code == 200


@pytest.mark.parametrize("method, suffix", [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart"),
                                            ("GET", "/channels")])
def test_unknown_kernel_is_404_on_every_route(gateway, method, suffix):
    unknown = str(uuid.uuid4())
    check_error(gateway.request(method, f"/api/kernels/{unknown}{suffix}"), 404, unknown)


def test_deleted_kernel_is_404_and_off_the_list(gateway):
    kernel_id = gateway.start_kernel()["id"]
    answer = gateway.delete(f"/api/kernels/{kernel_id}")
    assert answer.status_code == 204 and answer.content == b""
    check_error(gateway.get(f"/api/kernels/{kernel_id}"), 404, kernel_id)
    assert kernel_id not in [model["id"] for model in gateway.get("/api/kernels").json()]
    check_error(gateway.delete(f"/api/kernels/{kernel_id}"), 404)


def test_interrupt_answers_204(gateway, kernel):
    answer = gateway.post(f"/api/kernels/{kernel}/interrupt", json={})
    assert answer.status_code == 204 and answer.content == b""


@pytest.mark.parametrize("body", [None, "", "{}"])
def test_restart_answers_200_with_the_same_id_whatever_the_body(gateway, kernel, body):
    answer = gateway.post(f"/api/kernels/{kernel}/restart", data=body)
    assert answer.status_code == 200
    check_kernel_model(answer.json())
    assert answer.json()["id"] == kernel


def test_connections_are_counted(gateway, kernel, connect):
    first, second = connect(gateway, kernel), connect(gateway, kernel)
    first.kernel_info(), second.kernel_info()
    assert gateway.model(kernel)["connections"] == 2
    second.close()
    wait_until(lambda: gateway.model(kernel)["connections"] == 1, what="one connection left")


def test_working_directory_is_the_one_asked_for(gateway, connect, tmp_path):
    with gateway.kernel(env={"KERNEL_WORKING_DIR": str(tmp_path)}) as kernel_id:
        assert connect(gateway, kernel_id).run_cell("cwd").text() == f"{tmp_path}\n"


def test_path_is_resolved_below_the_root_directory(gateway, connect):
    (gateway.home / "projects").mkdir(exist_ok=True)
    with gateway.kernel(path="projects") as kernel_id:
        assert connect(gateway, kernel_id).run_cell("cwd").text() == f"{gateway.home / 'projects'}\n"
    with gateway.kernel(path="projects/not-there.ipynb") as kernel_id:
        assert connect(gateway, kernel_id).run_cell("cwd").text() == f"{gateway.home / 'projects'}\n"


def test_absolute_path_is_one_below_the_root_directory(gateway, connect):
    with gateway.kernel(path="/etc") as kernel_id:
        assert connect(gateway, kernel_id).run_cell("cwd").text() == f"{gateway.home}\n"


def test_max_kernels_is_403_for_rest_callers(start_gateway):
    gateway = start_gateway("--max-kernels", "1")
    with gateway.kernel():
        check_error(gateway.post("/api/kernels", json={"name": "stub"}), 403, "1")


def test_unauthorized_user_is_403(gateway):
    answer = gateway.post("/api/kernels", json={"name": "stub", "env": {"KERNEL_USERNAME": "root"}})
    check_error(answer, 403, "root")


def test_list_kernels_off_is_403(start_gateway):
    gateway = start_gateway(environment={"EG_LIST_KERNELS": "False"})
    check_error(gateway.get("/api/kernels"), 403)
    check_error(gateway.get("/api/sessions"), 403)


def test_cors_headers_are_sent_as_configured(start_gateway):
    gateway = start_gateway("--allow-origin", "https://hub.example", environment={"EG_MAX_AGE": "7"})
    for answer in (gateway.get("/api"), gateway.get("/api/nothing"), gateway.request("OPTIONS", "/api/kernels")):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://hub.example"
        assert answer.headers["Access-Control-Max-Age"] == "7"


def test_foreign_origin_is_refused_and_our_own_is_not(gateway):
    check_error(gateway.get("/api/kernels", headers={"Origin": "https://evil.example"}), 404, "Origin: https://evil.example")
    assert gateway.get("/api/kernels", headers={"Origin": gateway.base}).status_code == 200
    assert gateway.get("/healthz", headers={"Origin": "https://evil.example"}).status_code == 200
    assert gateway.request("OPTIONS", "/api/kernels", headers={"Origin": "https://evil.example"}).status_code == 200


def test_channels_are_for_websockets_alone(gateway, kernel):
    for method in ("GET", "HEAD"):
        answer = gateway.request(method, f"/api/kernels/{kernel}/channels")
        assert answer.status_code == 400 and answer.headers["Content-Type"].startswith("text/plain")


def test_base_url_is_in_front_of_everything(start_gateway):
    gateway = start_gateway("--base-url", "/gw", ready=False)

    def is_up():
        try:
            return requests.get(f"{gateway.base}/gw/api").status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(is_up, 15)
    answer = gateway.post("/gw/api/kernels", json={"name": "stub"})
    assert answer.headers["Location"] == f"/gw/api/kernels/{answer.json()['id']}"
    specs = gateway.get("/gw/api/kernelspecs").json()["kernelspecs"]
    logo = specs["stub"]["resources"]["logo-64x64"]
    assert logo == "/gw/kernelspecs/stub/logo-64x64.png"
    assert gateway.get(logo).status_code == 200
    assert gateway.get("/api/kernels").status_code == 404
    assert gateway.delete(f"/gw/api/kernels/{answer.json()['id']}").status_code == 204


def test_concurrent_starts_do_not_mix_environments(gateway, connect):
    """JEG handed one user's variables to another when two POSTs overlapped."""
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda i: gateway.start_kernel(env={"KERNEL_MARK": f"user {i}"}), range(8)))
    try:
        for i, model in enumerate(models):
            assert connect(gateway, model["id"]).run_cell("env KERNEL_MARK").text() == f"user {i}\n"
    finally:
        for model in models:
            gateway.delete(f"/api/kernels/{model['id']}")
