"""DNS rebinding: a page whose name was made to lead to 127.0.0.1 is of the gateway's own origin to the browser, so a gateway that lets everybody
in looks at the name by which it was called."""
import pytest
import requests
import websocket

from support.handover import hand_over
from test_rest import check_error

EVIL = "evil.example"


def ask(gateway, host, path="/api", method="GET", **headers):
    return gateway.request(method, path, headers={"Host": host, **headers})


def check_refused(answer, host):
    check_error(answer, 403, f"Host: {host}")
    assert "allow-hosts" in answer.json()["message"]


@pytest.mark.parametrize("host", [EVIL, "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "128.0.0.1", "0.0.0.0",
                                  "[2001:db8::1]", "x" * 300])
def test_foreign_name_is_refused(gateway, host):
    for name in (host, f"{host}:{gateway.port}"):
        check_refused(ask(gateway, name), host[:200])


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost.", "gateway.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_own_name_is_answered(gateway, host):
    for name in (host, f"{host}:{gateway.port}"):
        assert ask(gateway, name).status_code == 200


@pytest.mark.parametrize("method, path", [
    ("GET", "/api/kernels"), ("POST", "/api/kernels"), ("GET", "/api/kernelspecs"), ("OPTIONS", "/api/kernels"), ("GET", "/healthz"),
    ("GET", "/readyz"), ("GET", "/api/swagger.json"), ("GET", "/none")])
def test_every_route_refuses(gateway, method, path):
    before = gateway.get("/api/kernels").json()
    host = f"{EVIL}:{gateway.port}"
    check_refused(ask(gateway, host, path, method, Origin=f"http://{host}"), host)
    assert gateway.get("/api/kernels").json() == before, "nothing was started"


def test_websocket_refuses(gateway, kernel):
    host = f"{EVIL}:{gateway.port}"
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        websocket.create_connection(f"ws://127.0.0.1:{gateway.port}/api/kernels/{kernel}/channels", host=host, origin=f"http://{host}")
    assert refusal.value.status_code == 403 and b"Host: evil.example" in refusal.value.resp_body


def test_proxys_names_are_allowed(start_gateway):
    gateway = start_gateway("--allow-hosts", "hub.example,*.nodes.example", "--allow-origin", "https://lab.example:8443")
    for host in ("hub.example", "HUB.example:443", "a.nodes.example", "lab.example", "lab.example:8443", "localhost"):
        assert ask(gateway, host).status_code == 200, host
    for host in (EVIL, "nodes.example", "xhub.example", "example"):
        check_refused(ask(gateway, host), host)


@pytest.mark.parametrize("environment", [{"ELARA_ALLOW_HOSTS": "*"}, {"ELARA_ALLOW_ORIGIN": "*"}])
def test_all_names_may_be_allowed(start_gateway, environment):
    assert ask(start_gateway(environment=environment), EVIL).status_code == 200


def test_who_has_a_token_may_use_any_name(start_gateway):
    gateway = start_gateway(token="right")
    assert ask(gateway, EVIL, Authorization="token right").status_code == 200
    assert requests.get(gateway.base + "/api", headers={"Host": EVIL}).status_code == 401


def test_beyond_loopback_names_are_not_known(start_gateway):
    assert ask(start_gateway("--ip", "0.0.0.0", "--insecure"), EVIL).status_code == 200


def test_socket_that_was_handed_over_counts(start_gateway):
    """Not the address in the settings, which may be another one by then."""
    gateway = start_gateway(environment={"ELARA_INSECURE": "true"})
    check_refused(ask(gateway, EVIL), EVIL)
    hand_over(gateway)
    check_refused(ask(gateway, EVIL), EVIL)
