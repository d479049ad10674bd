"""Tokens of a real OpenID Connect provider (oidc-provider), whose keys the gateway fetches."""
import subprocess
from pathlib import Path

import pytest
import requests
import websocket

from support.client import Client
from support.environments import node_modules
from support.processes import free_port, wait_until


class Issuer:
    def __init__(self, folder):
        self.port, self.log_path, self.process = free_port(), folder / "issuer.log", None
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, algorithm="RS256"):
        """With new keys."""
        script = Path(__file__).parent / "oidc_issuer.mjs"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["node", script, node_modules(), str(self.port), algorithm], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        wait_until(lambda: b"listens" in self.log_path.read_bytes(), 30, "the issuer")

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def token(self, user, audience="elara"):
        answer = requests.post(f"{self.url}/token", timeout=10, data={
            "grant_type": "client_credentials", "client_id": user, "client_secret": f"{user}-secret", "resource": f"urn:{audience}"})
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


@pytest.fixture
def issuer(tmp_path):
    one = Issuer(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def gateway(start_gateway, issuer):
    return start_gateway("--oidc-issuer", issuer.url, "--oidc-audience", "elara", "--auth-cache", "1s")


def ask(gateway, token, path="/api/me"):
    return gateway.get(path, headers={"Authorization": f"Bearer {token}"})


def told(gateway, token, code):
    answer = ask(gateway, token)
    assert answer.status_code == code, answer.text
    return answer.json()["message"]


def test_whom_the_issuer_knows(gateway, issuer):
    """It starts after the gateway, which then has its keys when they are asked for."""
    message = told(gateway, "eyJhIjoxfQ.e30.x", 503)
    assert message.startswith(f"the OpenID provider's keys cannot be fetched: {issuer.url}/.well-known/openid-configuration: ")
    issuer.start()
    alice, bob = issuer.token("alice"), issuer.token("bob")
    wait_until(lambda: ask(gateway, alice).status_code == 200, 10, "the keys")
    assert ask(gateway, alice).json()["identity"]["username"] == "alice"
    gateway.token = alice
    with gateway.kernel() as kernel_id:
        with Client(gateway, kernel_id) as client:
            assert client.run_cell("print mine").text() == "mine\n"
        assert ask(gateway, bob, f"/api/kernels/{kernel_id}").status_code == 404
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            Client(gateway, kernel_id, headers=[f"Authorization: Bearer {bob}"])
        assert refused.value.status_code == 404
    assert "is not for this gateway" in told(gateway, issuer.token("alice", "another"), 401)
    head, claims, signature = alice.split(".")
    assert "signature is not the issuer's" in told(gateway, f"{head}.{bob.split('.')[1]}.{signature}", 401)
    assert "another issuer" in told(gateway, f"{head}.e30.{signature}", 401)
    assert told(gateway, "no-jwt", 401) == "the token is not known"
    for secret in (alice, bob):
        assert secret not in gateway.log() and secret.split(".")[2] not in gateway.log()


def test_keys_are_changed_without_a_restart(gateway, issuer):
    issuer.start()
    old = issuer.token("alice")
    wait_until(lambda: ask(gateway, old).status_code == 200, 10, "the keys")
    issuer.stop()
    issuer.start("ES256")
    new = issuer.token("alice")
    wait_until(lambda: ask(gateway, new).status_code == 200, 10, "the new keys")
    wait_until(lambda: ask(gateway, old).status_code == 401, 10, "the end of the old ones")


def test_an_email_counts_when_the_issuer_has_verified_it(start_gateway, issuer):
    issuer.start()
    gateway = start_gateway("--oidc-issuer", issuer.url, "--oidc-audience", "elara", "--oidc-user-claim", "email")
    alice = issuer.token("alice")
    wait_until(lambda: ask(gateway, alice).status_code == 200, 10, "the keys")
    assert ask(gateway, alice).json()["identity"]["username"] == "alice@example.org"
    for user in ("bob", "carla", "dora"):  # false; not said; the text "true"
        assert "the token's email is not verified" in told(gateway, issuer.token(user), 401)
