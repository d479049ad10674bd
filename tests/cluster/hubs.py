"""A person at a JupyterHub in the cluster, over HTTP."""
import contextlib
import json
import re

import requests

from testcluster.processes import wait_until

START_S = 180  # a hub or a notebook server, on a busy machine


class Visitor:
    """A person's browser at the hub whose proxy has this Service: logs in, and is redirected as a browser is."""

    def __init__(self, kube, namespace, proxy="proxy-public"):
        found = kube.get("Service", proxy, namespace)["spec"]
        self.base = f"http://{found['clusterIP']}:{found['ports'][0]['port']}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.user = None

    def request(self, method, path, **options):
        """With what a page of that application would add: its cookie against forged requests, again as a header."""
        cookies = {cookie.path: cookie.value for cookie in self.session.cookies if cookie.name == "_xsrf"}
        place = max((one for one in cookies if path.startswith(one)), key=len, default=None)
        headers = {"X-XSRFToken": cookies[place]} if place else {}
        return self.session.request(method, self.base + path, headers=headers, timeout=60, **options)

    def get(self, path):
        return self.request("GET", path)

    def is_there(self):
        """The hub's page of login, through the proxy."""
        with contextlib.suppress(requests.RequestException):
            return self.get("/hub/login").status_code == 200
        return False

    def login(self, user, password=""):
        wait_until(self.is_there, START_S, "the hub's page of login")
        (xsrf,) = re.findall(r'name="_xsrf" value="([^"]+)"', self.get("/hub/login").text)
        answer = self.session.post(f"{self.base}/hub/login", data={"username": user, "password": password, "_xsrf": xsrf}, timeout=60,
                                   allow_redirects=False)
        assert answer.status_code == 302, answer.text
        self.user = user
        return self

    def start_server(self, **choices):
        """Returns when it answers; `choices` are those of the form, of a profile."""
        assert self.get("/hub/home").status_code == 200
        answer = self.request("POST", f"/hub/api/users/{self.user}/server", json=choices)
        assert answer.status_code in (201, 202), answer.text
        progress = self.request("GET", f"/hub/api/users/{self.user}/server/progress", stream=True)
        told = [json.loads(line.removeprefix(b"data:")) for line in progress.iter_lines() if line.startswith(b"data:")]
        assert told[-1].get("ready"), told
        return f"/user/{self.user}"
