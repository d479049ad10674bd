"""A real proxy (Apache) that knows its users and says them in a header; and others who say the same."""
import socket
import subprocess

import pytest
import requests

from support.client import Client
from support.processes import free_port, wait_until

PROXY = "127.0.0.2"  # where it asks from; everybody else is 127.0.0.1
MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "headers", "proxy", "proxy_http")
CONFIGURATION = """
ServerName lab
ServerRoot {folder}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/apache.log
Listen 127.0.0.1:{port}
{modules}
ProxySourceAddress {proxy}
ProxyPreserveHost On
<Location />
    AuthType Basic
    AuthName lab
    AuthBasicProvider file
    AuthUserFile {folder}/passwords
    Require valid-user
    RequestHeader set X-Forwarded-User "expr=%{{REMOTE_USER}}"
    RequestHeader unset Authorization
    ProxyPass {target}/ upgrade=websocket
</Location>
"""


class Proxy:
    """Behaves like a gateway to the helpers, as the user whose password it is given."""

    def __init__(self, folder, gateway):
        self.port, self.token, folder = free_port(), None, folder / "apache"
        folder.mkdir()
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES)
        (folder / "apache.conf").write_text(CONFIGURATION.format(folder=folder, port=self.port, modules=modules, proxy=PROXY,
                                                                 target=gateway.base))
        hashes = {user: subprocess.run(["openssl", "passwd", "-apr1", f"{user}-password"], check=True, capture_output=True,
                                       text=True).stdout.strip() for user in ("alice", "bob")}
        (folder / "passwords").write_text("".join(f"{user}:{text}\n" for user, text in hashes.items()))
        folder.chmod(0o755)
        self.process = subprocess.Popen(["/usr/sbin/apache2", "-X", "-f", folder / "apache.conf"], stdin=subprocess.DEVNULL)
        self.base = f"http://127.0.0.1:{self.port}"
        wait_until(self.is_up, 20, "the proxy")

    def is_up(self):
        assert self.process.poll() is None
        try:
            return self.ask("alice", "/api").status_code == 200
        except requests.ConnectionError:
            return False

    def ask(self, user, path, method="GET", **options):
        return requests.request(method, self.base + path, auth=(user, f"{user}-password"), timeout=20, **options)


@pytest.fixture
def gateway(start_gateway):
    return start_gateway("--proxy-user-header", "X-Forwarded-User", "--proxy-addresses", PROXY)


@pytest.fixture
def proxy(gateway, tmp_path):
    one = Proxy(tmp_path, gateway)
    yield one
    one.process.kill()
    one.process.wait()


def raw(gateway, source, *lines):
    """The first line of the answer to a request with these header lines."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10, source_address=(source, 0)) as connection:
        connection.sendall("\r\n".join(["GET /api/me HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]).encode())
        return int(connection.makefile("rb").read().split()[1])


def test_the_proxys_users(gateway, proxy):
    assert proxy.ask("alice", "/api/me").json()["identity"]["username"] == "alice"
    claim = {"X-Forwarded-User": "bob"}  # the proxy puts its own word in the place of a client's
    assert proxy.ask("alice", "/api/me", headers=claim).json()["identity"]["username"] == "alice"
    kernel_id = proxy.ask("alice", "/api/kernels", "POST", json={"name": "stub"}).json()["id"]
    assert proxy.ask("bob", f"/api/kernels/{kernel_id}").status_code == 404
    with Client(proxy, kernel_id, headers=["Authorization: Basic YWxpY2U6YWxpY2UtcGFzc3dvcmQ="]) as client:
        assert client.run_cell("print behind it").text() == "behind it\n"
    assert proxy.ask("alice", f"/api/kernels/{kernel_id}", "DELETE").status_code == 204


def test_the_header_counts_once_and_from_the_proxy_alone(gateway):
    alice = "X-Forwarded-User: alice"
    assert raw(gateway, PROXY, alice) == 200
    assert raw(gateway, PROXY, alice, "x-forwarded-user: bob") == 401
    assert raw(gateway, PROXY, alice, alice) == 401
    assert raw(gateway, PROXY, "X-Forwarded-User: default") == 401
    assert raw(gateway, PROXY, "X-Forwarded-User:") == 401
    assert raw(gateway, PROXY) == 401
    assert raw(gateway, "127.0.0.1", alice) == 401
    for header in ("X-Forwarded-For", "X-Real-Ip", "Forwarded"):
        assert raw(gateway, "127.0.0.1", alice, f"{header}: {PROXY}") == 401
    assert "X-Forwarded-User does not count from 127.0.0.1, which is none of proxy-addresses" in gateway.log()


def test_what_x_forwarded_for_says_does_not_make_a_proxy(start_gateway):
    gateway = start_gateway("--proxy-user-header", "X-Forwarded-User", "--proxy-addresses", PROXY, "--trust-xheaders")
    assert raw(gateway, "127.0.0.1", "X-Forwarded-User: alice", f"X-Real-Ip: {PROXY}") == 401


def test_a_page_whose_name_leads_to_loopback(proxy):
    """A browser that has logged in at the proxy shows that to any page, and the proxy passes the page's Host on."""
    answer = proxy.ask("alice", "/api/kernels", "POST", json={}, headers={"Host": "evil.example.org", "Origin": "http://evil.example.org"})
    assert answer.status_code == 403 and "allow-hosts" in answer.json()["message"]


@pytest.mark.parametrize("flags", [("--client-ca", "ca.pem", "--certfile", "c.pem", "--client-certificate-user", "cn"),
                                   ("--proxy-user-header", "X-Forwarded-User", "--proxy-addresses", PROXY)])
def test_any_origin_is_refused_where_browsers_log_in_by_themselves(build, flags):
    refused = subprocess.run([build / "elara-gateway", "--port", "0", "--allow-origin", "*", *flags], capture_output=True, text=True,
                             timeout=20)
    assert refused.returncode != 0
    assert f'allow-origin: must not be "*" beside {flags[-2].removeprefix("--") if "ca.pem" in flags else "proxy-user-header"}' in refused.stderr
