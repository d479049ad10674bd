"""A real JupyterHub: its proxy, its users' servers, and gateways behind those."""
import contextlib
import os
import signal
import subprocess
from pathlib import Path

import requests

from support.environments import node_modules, python_environment
from support.processes import free_port, wait_until

# The part that docs/security.md has an administrator write, and what a test's hub needs.
CONFIGURATION = """
c.Spawner.environment = {{
    "JUPYTER_GATEWAY_URL": {gateway!r},
    "JUPYTER_GATEWAY_AUTH_TOKEN": lambda spawner: spawner.api_token,
}}

import os
os.chdir({folder!r})
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cleanup_servers = c.JupyterHub.cleanup_proxy = False  # a hub may be stopped alone
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {{"alice", "bob", "ops", "wall"}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.env_keep = ["PATH", "LANG"]
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers", "tokens", "access:servers"]}},
    {{"name": "visitor", "users": ["alice"], "scopes": ["access:servers!server=bob/"]}},
]
"""


class UsersServer:
    """A user's own notebook server, behind the hub's proxy. Behaves like a gateway to the helpers: base, token, request."""

    def __init__(self, hub, user):
        self.hub, self.user = hub, user
        self.base = f"{hub.base}/user/{user}"
        self.token = hub.make_token(user)

    def start(self):
        """The hub's answer when the server is there."""
        self.hub.call("POST", f"/users/{self.user}/server")
        self.wait(lambda user: user["server"])
        return self

    def wait(self, condition):
        return wait_until(lambda: condition(self.hub.call("GET", f"/users/{self.user}").json()), 60, f"{self.user}'s server")

    def stop(self):
        self.hub.call("DELETE", f"/users/{self.user}/server")
        self.wait(lambda user: not user["servers"])

    def own_token(self):
        """JUPYTERHUB_API_TOKEN of its process (and of those that it starts), the only place where it is."""
        (token,) = {environment["JUPYTERHUB_API_TOKEN"] for _, environment in self.hub.servers() if environment["JUPYTERHUB_USER"] == self.user}
        return token

    def request(self, method, path, **options):
        headers = {"Authorization": f"token {self.token}", **options.pop("headers", {})}
        return requests.request(method, self.base + path, headers=headers, timeout=60, **options)


class Hub:
    def __init__(self, folder, gateway_url):
        self.folder, self.token = folder, "0123456789abcdef0123456789abcdef"
        self.port, self.api_port, proxy_port = free_port(), free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.api_url = f"http://127.0.0.1:{self.api_port}/hub/api"
        self.python = python_environment("requirements-jupyterhub.txt")
        self.log_path = folder / "hub.log"
        self.process = None
        proxy = ["node", str(node_modules() / "configurable-http-proxy" / "bin" / "configurable-http-proxy")]
        self.configuration = folder / "jupyterhub_config.py"
        self.configuration.write_text(CONFIGURATION.format(
            gateway=gateway_url, folder=str(folder), port=self.port, api_port=self.api_port, proxy_port=proxy_port, proxy=proxy,
            python=self.python, token=self.token))

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.python, "-m", "jupyterhub", "--config", self.configuration], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"})
        if wait:
            self.wait()

    def wait(self):
        wait_until(self.is_up, 60, "the hub")

    def is_up(self):
        assert self.process.poll() is None, self.log_path.read_text()[-3000:]
        try:  # the proxy is told last
            return all(requests.get(url + "/", timeout=2).status_code == 200 for url in (self.api_url, f"{self.base}/hub/api"))
        except requests.RequestException:
            return False

    def stop(self):
        """The hub alone: proxy and users' servers go on."""
        self.process.terminate()
        self.process.wait(30)

    def servers(self):
        """Pid and environment of each of the users' servers."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                pairs = (text.partition("=") for text in (entry / "environ").read_text().split("\0"))
                environment = {name: value for name, _, value in pairs}
                if environment.get("HOME", "").startswith(f"{self.folder}/home/"):
                    found.append((int(entry.name), environment))
        return found

    def end(self):
        """It and all that it has started."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        pids = [pid for pid, _ in self.servers()]
        if (self.folder / "jupyterhub-proxy.pid").exists():
            pids.append(int((self.folder / "jupyterhub-proxy.pid").read_text()))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def call(self, method, path, **body):
        answer = requests.request(method, self.api_url + path, headers={"Authorization": f"token {self.token}"}, timeout=60,
                                  json=body or None)
        assert answer.ok, answer.text
        return answer

    def make_token(self, user, *scopes):
        """A token of a user; without scopes it may what he may."""
        return self.call("POST", f"/users/{user}/tokens", **({"scopes": list(scopes)} if scopes else {"note": "tests"})).json()["token"]
