"""Users of a real JupyterHub, each with the notebook server that it starts for him, at one gateway."""
import contextlib
import re
import subprocess
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import websocket
import yaml

from conftest import add_standard_specs
from support.client import Client
from support.environments import python_environment
from support.hub import Hub, UsersServer
from support.kernelspecs import Specs
from support.processes import Gateway, free_port, wait_until

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"


@pytest.fixture(scope="module")
def place(build, tmp_path_factory):
    """The gateway; its hub; alice's and bob's servers. Gateway and hub start at once, and both servers."""
    specs = add_standard_specs(Specs(tmp_path_factory.mktemp("specs") / "kernels", build))
    gateway = Gateway(build, specs)
    gateway.port = free_port()
    hub = Hub(tmp_path_factory.mktemp("hub"), gateway.base)
    gateway.arguments = ("--jupyterhub-api-url", hub.api_url, "--auth-cache", "1s", "--admin-users", "ops", "--viewer-users", "wall")
    try:
        hub.start(wait=False)
        with gateway, ThreadPoolExecutor(2) as both:
            hub.wait()
            yield gateway, hub, *both.map(lambda user: UsersServer(hub, user).start(), ("alice", "bob"))
            gateway.print_logs()
    finally:
        hub.end()
        print(hub.log_path.read_text()[-4000:])


def by(token):
    return {"Authorization": f"token {token}"}


def status(gateway, token, path="/api/kernels"):
    return gateway.get(path, headers=by(token)).status_code


@pytest.fixture
def alices_kernel(place):
    gateway, _, alice, _ = place
    model = alice.request("POST", "/api/kernels", json={"name": "stub"})
    assert model.status_code == 201, model.text
    yield model.json()["id"]
    gateway.delete(f"/api/kernels/{model.json()['id']}", headers=by(alice.own_token()))


def answers(gateway, token, kernel_id):
    """What each route says of a kernel, without its id."""
    path = f"/api/kernels/{kernel_id}"
    told = [gateway.request(method, path + rest, headers=by(token)) for method, rest in (
        ("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart"), ("GET", "/journal"), ("GET", "/logs"))]
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Client(gateway, kernel_id, headers=[f"Authorization: token {token}"])
    texts = [(answer.status_code, answer.text.replace(kernel_id, "ID")) for answer in told]
    return [*texts, (refused.value.status_code, refused.value.resp_body.decode().replace(kernel_id, "ID"))]


def test_a_kernel_is_its_users_alone(place, alices_kernel):
    gateway, _, alice, bob = place
    with Client(alice, alices_kernel) as client:
        assert client.run_cell("print mine").text() == "mine\n"
        assert [model["id"] for model in alice.request("GET", "/api/kernels").json()] == [alices_kernel]
        assert bob.request("GET", "/api/kernels").json() == []
        assert bob.request("DELETE", f"/api/kernels/{alices_kernel}").status_code == 404
        token = bob.own_token()
        assert gateway.get("/api/me", headers=by(token)).json()["identity"]["username"] == "bob"
        assert gateway.get("/api/kernels", headers=by(token)).json() == []
        seen = answers(gateway, token, alices_kernel)
        assert seen == answers(gateway, token, str(uuid.uuid4()))
        assert {code for code, _ in seen} == {404}
        assert client.run_cell("print still").text() == "still\n"


def test_which_tokens_count(place):
    gateway, hub, alice, _ = place
    for scopes, code in ((("access:servers!user=alice",), 200), (("access:servers!server=alice/",), 200),
                         (("access:servers!server=bob/",), 401),  # as a server of bob's gets it of its visitor
                         (("read:users:name!user=alice",), 401), ((), 200)):
        assert status(gateway, hub.make_token("alice", *scopes)) == code, scopes
    assert status(gateway, alice.own_token()) == 200
    assert gateway.get(f"/api/kernels?token={alice.own_token()}").status_code == 200
    assert status(gateway, hub.token) == 401  # a service is no user
    assert status(gateway, "0" * 32) == 401
    assert gateway.get("/api/kernels").status_code == 401


def test_roles(place, alices_kernel):
    gateway, hub, alice, _ = place
    ops, wall = hub.make_token("ops"), hub.make_token("wall")
    path = f"/api/kernels/{alices_kernel}"
    for token in (ops, wall):
        assert alices_kernel in [model["id"] for model in gateway.get("/api/kernels", headers=by(token)).json()]
        assert status(gateway, token, "/metrics") == 200
    assert gateway.get("/api/kernels", headers=by(alice.own_token())).status_code == 200
    for method, rest in (("POST", "/interrupt"), ("DELETE", ""), ("GET", "/journal"), ("GET", "/logs")):
        assert gateway.request(method, path + rest, headers=by(wall)).status_code == 403
    assert gateway.post("/api/kernels", json={"name": "stub"}, headers=by(wall)).status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Client(gateway, alices_kernel, headers=[f"Authorization: token {wall}"])
    assert refused.value.status_code == 403
    with Client(gateway, alices_kernel, headers=[f"Authorization: token {ops}"]) as client:
        assert client.run_cell("print by ops").text() == "by ops\n"
    assert gateway.delete(path, headers=by(ops)).status_code == 204


def test_a_revoked_token_ends_and_the_kernel_stays(place, alices_kernel):
    """The hub deletes the token of a server that it stops; the user's next one has another."""
    gateway, _, alice, _ = place
    token = alice.own_token()
    assert status(gateway, token) == 200
    with Client(gateway, alices_kernel, headers=[f"Authorization: token {token}"]) as client:
        client.kernel_info()
        alice.stop()
        assert client.expect_close() == 1008
    wait_until(lambda: status(gateway, token) == 401, 5, "the end of the token")
    fresh = alice.start().own_token()
    assert fresh != token
    assert [model["id"] for model in gateway.get("/api/kernels", headers=by(fresh)).json()] == [alices_kernel]
    with Client(gateway, alices_kernel, headers=[f"Authorization: token {fresh}"]) as client:
        assert client.run_cell("print back").text() == "back\n"


def test_a_hub_that_is_away(place):
    gateway, hub, _, bob = place
    token = bob.own_token()
    kernel_id = gateway.post("/api/kernels", json={"name": "stub"}, headers=by(token)).json()["id"]
    with Client(gateway, kernel_id, headers=[f"Authorization: token {token}"]) as client:
        hub.stop()
        wait_until(lambda: status(gateway, token) == 503, 5, "the end of what the hub has said")
        answer = gateway.get("/api/kernels", headers=by(token))
        message = answer.json()["message"]
        assert message.startswith(f"JupyterHub cannot be asked whose the token is: {hub.api_url}/user: ")
        assert "refused" in message or "onnect" in message
        assert "Retry-After" in answer.headers
        assert client.run_cell("print undisturbed").text() == "undisturbed\n"
        hub.start()
        wait_until(lambda: status(gateway, token) == 200, 10, "the hub's answer")
    assert gateway.delete(f"/api/kernels/{kernel_id}", headers=by(token)).status_code == 204
    assert token not in gateway.log() and hub.token not in gateway.log()


def block_of_recipes(first):
    """What follows that line."""
    return yaml.safe_load(textwrap.dedent(re.search(rf"^    {re.escape(first)}\n((?:    .*\n)+)", RECIPES.read_text(), re.MULTILINE)[1]))


@contextlib.contextmanager
def culler(hub, log, timeout, every, maxAge):
    """The hub's culler with the options that the hub's chart makes of these values."""
    words = (f"--url={hub.api_url}", f"--timeout={timeout}", f"--cull-every={every}", f"--max-age={maxAge}", "--IdleCuller.log_level=DEBUG")
    python = python_environment("requirements-idle-culler.txt")
    with open(log, "wb") as output, subprocess.Popen([python, "-m", "jupyterhub_idle_culler", *words], stdout=output, stderr=output, cwd=log.parent,
                                                     env={"JUPYTERHUB_API_TOKEN": hub.token}) as process:
        try:
            yield
        finally:
            process.terminate()
            print(log.read_text())


def test_the_hub_s_culler_goes_by_the_recipe_s_values(place, tmp_path):
    """Nobody waits for two days: with a limit of none the same server goes at once."""
    _, hub, alice, _ = place
    values, log = block_of_recipes("# values of JupyterHub's chart")["cull"], tmp_path / "culler.log"
    assert values.pop("enabled") is True
    with culler(hub, log, **values):
        wait_until(lambda: "Not culling server alice " in log.read_text(), 60, "the culler's look at alice's server")
    with culler(hub, log, **values | {"timeout": 0}):
        alice.wait(lambda user: not user["servers"])


def test_the_gateway_s_half_of_that_recipe_is_understood(build, tmp_path):
    path, settings = tmp_path / "elara.yaml", block_of_recipes("# elara.yaml")
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    shown = subprocess.run([build / "elara-gateway", "--config", path, "--show-config"], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    for line, (name, value) in enumerate(settings.items(), start=1):
        assert f"\n{name}: {value}  # {path}:{line}\n" in shown.stdout
