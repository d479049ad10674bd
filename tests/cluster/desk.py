"""Notebooks: a real jupyter_server on a gateway, and clients of it whose first cell runs."""
import contextlib

from kernels import START_S
from support.client import Client
from support.notebook_server import Server


class Desk:
    """A gateway, a notebook server on it, and notebooks whose first cell runs."""

    def __init__(self, gateway, server):
        self.gateway, self.server = gateway, server
        self.open = {}  # {kernelspec: (kernel's id, its client, the cell's request)} of those begun last
        self.clients = []

    def run(self, name):
        answer = self.server.request("POST", "/api/kernels", json={"name": name})
        assert answer.status_code == 201, answer.text
        kernel_id = answer.json()["id"]
        client = Client(self.server, kernel_id, timeout=START_S)
        self.clients.append(client)
        self.open[name] = kernel_id, client, client.send_execute("print here")
        return self.open[name]

    def close(self):
        for client in self.clients:
            client.close()


@contextlib.contextmanager
def desk_at(gateway, folder, **environment):
    """Of a gateway that runs; the environment is the notebook server's."""
    server = Server(gateway, folder, **environment)
    desk = Desk(gateway, server)
    try:
        yield desk
    finally:
        desk.close()
        server.stop()


@contextlib.contextmanager
def desk_of(gateway, folder):
    """Of a gateway that is started and stopped with it."""
    with gateway:
        try:
            with desk_at(gateway, folder) as desk:
                yield desk
        finally:
            gateway.print_logs()
