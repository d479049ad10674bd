"""A real jupyter_server between its clients and the gateway."""
import os
import subprocess
import sys

import requests

from support.processes import free_port, wait_until


class Server:
    """jupyter server in gateway mode. Behaves like a gateway to the helpers: base, port, token, request."""

    def __init__(self, gateway, folder, root=None, before=(), **environment):
        """root: where its notebooks are, instead of the folder; before: words before the command."""
        self.gateway, self.folder, self.environment = gateway, folder, environment
        self.root, self.before = root or folder, before
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.token = None
        self.log_path = folder / "server.log"
        self.start()

    def start(self):
        folder = self.folder
        home = {"HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
                "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
        command = [*self.before, sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={self.port}",
                   "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
                   "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={self.root}"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **home, "JUPYTER_GATEWAY_URL": self.gateway.base,
                                                 **self.environment})
        try:
            wait_until(self.is_up, 90, "the notebook server")
        except AssertionError:
            self.kill()
            raise

    def is_up(self):
        assert self.process.poll() is None, self.log_path.read_text()[-3000:]
        try:
            return requests.get(self.base + "/api", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def request(self, method, path, **options):
        return requests.request(method, self.base + path, timeout=60, **options)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
