"""JupyterLab in a browser: its notebook server, and scenarios of a person at it (tests/browser)."""
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import requests

from support.processes import free_port, wait_until

LAB = Path(__file__).resolve().parents[2] / "browser" / "lab.mjs"


@contextlib.contextmanager
def notebook_server(folder, gateway_url, *options):
    """The port of a JupyterLab whose kernels are the gateway's."""
    port = free_port()
    home = {"HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "JUPYTER_GATEWAY_URL": gateway_url,
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    work = folder / "work"
    work.mkdir()
    for plugin, values in {"apputils-extension/notification": {"fetchNews": "false"},
                           "docmanager-extension/plugin": {"renameUntitledFileOnSave": False}}.items():
        settings = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(values))
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
             "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
             f"--ServerApp.root_dir={work}", *options],
            env={**os.environ, **home}, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_up():
        assert server.poll() is None, (folder / "lab.log").read_text()[-3000:]
        try:
            return requests.get(f"http://127.0.0.1:{port}/api", timeout=2).ok
        except requests.RequestException:
            return False

    try:
        wait_until(is_up, 60, "JupyterLab")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def play(scenario, acts, shots, environment, limit_s=240):
    """Runs a scenario in a browser and does what it asks for; returns (exit status, what it said)."""
    said = []
    with subprocess.Popen(["node", LAB, scenario, acts.url, shots], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}) as browser:
        acts.browser = browser
        limit = threading.Timer(limit_s, browser.kill)
        limit.start()
        try:
            for line in browser.stdout:
                if line.startswith("@"):
                    print(json.dumps(getattr(acts, line[1:].strip())()), file=browser.stdin, flush=True)
                else:
                    said.append(line)
            return browser.wait(), "".join(said)
        finally:
            limit.cancel()
            browser.kill()
