"""Lists of users: what a user may not see cannot be started either, whatever the request claims."""
import pytest

from test_auth import as_user, token_file
from test_rest import check_error


@pytest.fixture
def start_listed(start_gateway, specs, tmp_path):
    """start_listed(*flags) gives a gateway where `secret` is anna's and each of anna, bert and ops has a token."""
    specs.stub("secret", metadata={"process_proxy": {"config": {"authorized_users": ["anna"]}}})
    path = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"),
                      ("ops", "admin", "ops-token"))

    def start(*flags):
        gateway = start_gateway("--auth-token-file", str(path), *flags)
        gateway.token = "ops-token"
        return gateway

    return start


CLAIMS = [None, {}]


def session(name, env=None, path="s.ipynb"):
    return {"path": path, "type": "notebook", "kernel": {"name": name, "env": env}}


@pytest.mark.parametrize("env", CLAIMS)
def test_hidden_kernelspec_cannot_be_started(start_listed, env):
    gateway, bert, anna = start_listed(), as_user("bert"), as_user("anna")
    check_error(gateway.get("/api/kernelspecs/secret", headers=bert), 403, "bert", "secret")
    refused = [gateway.post("/api/kernels", headers=bert, json={"name": "secret", "env": env}),
               gateway.post("/api/sessions", headers=bert, json=session("secret", env))]
    for answer in refused:
        check_error(answer, 403, "bert", "secret")
        assert "KERNEL_USERNAME" not in answer.text, "what was claimed has nothing to do with it"
    own = gateway.post("/api/sessions", headers=bert, json=session("stub", env)).json()
    check_error(gateway.request("PATCH", f"/api/sessions/{own['id']}", headers=bert,
                                json={"kernel": {"name": "secret", "env": env}}), 403, "bert", "secret")
    assert [model["name"] for model in gateway.get("/api/kernels").json()] == ["stub"]
    assert gateway.post("/api/kernels", headers=anna, json={"name": "secret", "env": env}).status_code == 201
    assert gateway.post("/api/sessions", headers=anna, json=session("secret", env)).status_code == 201


@pytest.mark.parametrize("flags, denied", [(["--unauthorized-users", "bert"], ["stub", "secret"]),
                                           (["--authorized-users", "anna"], ["stub", "secret"]),
                                           (["--authorized-users", "bert"], ["secret"])])
def test_lists_of_the_gateway_hold_for_the_verified_name(start_listed, flags, denied):
    gateway, bert = start_listed(*flags), as_user("bert")
    for name in ("stub", "secret"):
        expected = (403, 403) if name in denied else (200, 201)
        started = gateway.post("/api/kernels", headers=bert, json={"name": name})
        assert (gateway.get(f"/api/kernelspecs/{name}", headers=bert).status_code, started.status_code) == expected
    listed = gateway.get("/api/kernelspecs", headers=bert).json()["kernelspecs"]
    assert set(listed) & {"stub", "secret"} == {"stub", "secret"} - set(denied)


def test_own_list_of_a_kernelspec_stands_in_for_the_gateways(start_listed):
    """As in Enterprise Gateway, and the same for who looks and who starts."""
    gateway, anna = start_listed("--authorized-users", "bert"), as_user("anna")
    assert gateway.get("/api/kernelspecs/secret", headers=anna).status_code == 200
    assert set(gateway.get("/api/kernelspecs", headers=anna).json()["kernelspecs"]) == {"secret"}
    assert gateway.post("/api/kernels", headers=anna, json={"name": "secret"}).status_code == 201
    assert gateway.post("/api/kernels", headers=anna, json={"name": "stub"}).status_code == 403


def test_who_is_known_cannot_say_to_be_somebody_else(start_listed, connect, specs):
    specs.python()
    gateway, anna = start_listed(), as_user("anna")
    claim = {"name": "stub", "env": {"KERNEL_USERNAME": "bert"}}
    for answer in (gateway.post("/api/kernels", headers=anna, json=claim),
                   gateway.post("/api/sessions", headers=anna, json=session("stub", claim["env"]))):
        check_error(answer, 403, "KERNEL_USERNAME: says bert, but the client is anna; leave it out")
    assert gateway.get("/api/kernels").json() == []
    assert gateway.post("/api/kernels", json=claim).status_code == 201, "an admin may start one for anybody"
    for env in ({}, {"KERNEL_USERNAME": "anna"}, {"KERNEL_USERNAME": ""}):
        own = gateway.post("/api/kernels", headers=anna, json={"name": "python3", "env": env}).json()["id"]
        assert connect(gateway, own).run_cell("import os; print(os.environ['KERNEL_USERNAME'])").text() == "anna\n"


@pytest.mark.parametrize("env", CLAIMS)
def test_refused_kernel_cannot_be_restarted_into_life(start_listed, connect, env):
    """A notebook server is shown the refusal as a dead kernel, which a restart would start from its request."""
    gateway = start_listed()
    server = as_user("bert") | {"User-Agent": "Tornado/6.5.2"}
    answer = gateway.post("/api/kernels", headers=server, json={"name": "secret", "env": env})
    assert answer.status_code == 201
    path = f"/api/kernels/{answer.json()['id']}"
    assert "may not start" in gateway.get(path).json()["reason"]
    for who in (server, as_user("bert"), as_user("ops")):
        check_error(gateway.post(path + "/restart", headers=who), 403, "bert", "secret")
    gateway.kill()
    gateway.start()
    check_error(gateway.post(path + "/restart", headers=server), 403, "bert", "secret")
    assert gateway.get(path).json()["execution_state"] == "dead"


def test_unknown_kernelspec_names_only_what_the_user_may_start(start_listed):
    gateway = start_listed()
    for user, is_named in (("bert", False), ("anna", True), ("ops", True)):
        for answer in (gateway.post("/api/kernels", headers=as_user(user), json={"name": "cobol"}),
                       gateway.post("/api/sessions", headers=as_user(user), json=session("cobol"))):
            check_error(answer, 404, "cobol", "stub")
            assert ("secret" in answer.text) == is_named


def test_without_named_tokens_the_claim_decides(start_gateway, specs):
    specs.stub("secret", metadata={"kernel_provisioner": {"config": {"authorized_users": "anna"}}})
    gateway = start_gateway()
    for env, code in (({"KERNEL_USERNAME": "anna"}, 201), ({"KERNEL_USERNAME": "bert"}, 403), (None, 201)):
        answer = gateway.post("/api/kernels", json={"name": "secret", "env": env})
        assert answer.status_code == code, answer.text
    claim = {"name": "secret", "env": {"KERNEL_USERNAME": "bert"}}
    check_error(gateway.post("/api/kernels", json=claim), 403, "bert", "KERNEL_USERNAME")
    answer = gateway.post("/api/kernels", json=claim | {"name": "cobol"})
    assert answer.status_code == 404 and "secret" not in answer.text
