"""Mutual TLS: the certificate that a client shows says who it is."""
import hashlib
import ssl

import pytest
import requests
import websocket

from support.client import Client
from support.notebook_server import Server
from support.tls import Authority, TlsGateway


@pytest.fixture
def lab(tmp_path):
    return Authority(tmp_path / "lab")


@pytest.fixture
def start(build, specs, lab):
    started = []

    def start_one(*flags):
        gateway = TlsGateway(build, specs, *flags, "--client-ca", lab.file, "--client-certificate-user", "cn")
        certificate, key = lab.make("gateway", "subjectAltName=IP:127.0.0.1")
        gateway.arguments += ("--certfile", certificate, "--keyfile", key)
        gateway.ca, gateway.cert = lab.file, lab.make("alice")
        started.append(gateway)
        return gateway.start()

    yield start_one
    for gateway in started:
        gateway.print_logs()
        gateway.__exit__(None)


def name_of(gateway, **options):
    answer = gateway.get("/api/me", **options)
    return answer.json()["identity"]["username"] if answer.status_code == 200 else answer.status_code


def connect(gateway, kernel_id, cert):
    return websocket.create_connection(f"wss{gateway.base[5:]}/api/kernels/{kernel_id}/channels", timeout=10, suppress_origin=True,
                                       sslopt={"ca_certs": gateway.ca, "certfile": cert[0], "keyfile": cert[1]})


def test_each_certificate_is_a_user(start, lab, tmp_path):
    gateway = start()
    bob = lab.make("bob", "extendedKeyUsage=clientAuth")
    assert name_of(gateway) == "alice" and name_of(gateway, cert=bob) == "bob"
    with gateway.kernel() as kernel_id:
        connect(gateway, kernel_id, gateway.cert).close()
        assert gateway.get(f"/api/kernels/{kernel_id}", cert=bob).status_code == 404
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            connect(gateway, kernel_id, bob)
        assert refused.value.status_code == 404
    stranger = Authority(tmp_path / "elsewhere").make("alice")
    servers = lab.make("server", "extendedKeyUsage=serverAuth")
    for cert in (stranger, servers, None):
        with pytest.raises((requests.ConnectionError, ssl.SSLError)):
            gateway.get("/api/me", cert=cert)


def test_a_token_counts_beside_certificates_that_are_optional(start, lab, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna:user:sha256:{hashlib.sha256(b'anna-token').hexdigest()}\n")
    tokens.chmod(0o600)
    gateway = start("--client-ca-optional", "--auth-token-file", str(tokens))
    anna = {"Authorization": "token anna-token"}
    gateway.cert = None
    assert name_of(gateway, headers=anna) == "anna"
    assert name_of(gateway) == 401
    assert name_of(gateway, cert=lab.make("bob")) == "bob"
    assert name_of(gateway, cert=lab.make("bob"), headers=anna) == "anna"
    assert name_of(gateway, cert=lab.make("default")) == 401
    with pytest.raises((requests.ConnectionError, ssl.SSLError)):  # a wrong one is not none
        gateway.get("/api/me", cert=Authority(tmp_path / "elsewhere").make("bob"), headers=anna)


def test_a_notebook_server_with_a_certificate(start, lab, tmp_path):
    gateway = start()
    certificate, key = lab.make("carla")
    server = Server(gateway, tmp_path, JUPYTER_GATEWAY_CLIENT_CERT=certificate, JUPYTER_GATEWAY_CLIENT_KEY=key,
                    JUPYTER_GATEWAY_CA_CERTS=lab.file)
    try:
        kernel_id = server.request("POST", "/api/kernels", json={"name": "stub"}).json()["id"]
        with Client(server, kernel_id) as client:
            assert client.run_cell("print over TLS").text() == "over TLS\n"
        assert gateway.get("/api/kernels").json() == []
        assert [model["id"] for model in gateway.get("/api/kernels", cert=(certificate, key)).json()] == [kernel_id]
    finally:
        server.stop()


def test_a_websocket_ends_with_its_certificate(start, lab):
    gateway = start("--auth-cache", "1s")
    with gateway.kernel() as kernel_id, requests.Session() as kept:
        short = lab.make_short("alice", 3)
        socket = connect(gateway, kernel_id, short)
        assert kept.get(gateway.base + "/api/me", verify=gateway.ca, cert=short, timeout=10).json()["identity"]["username"] == "alice"
        opcode = None
        while opcode != websocket.ABNF.OPCODE_CLOSE:
            opcode, data = socket.recv_data(control_frame=True)
        assert int.from_bytes(data[:2], "big") == 1008
        answer = kept.get(gateway.base + "/api/me", verify=gateway.ca, cert=short, timeout=10)
        assert answer.status_code == 401 and answer.json()["message"] == "the client certificate has expired"
        assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 200
