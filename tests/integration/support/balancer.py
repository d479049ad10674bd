"""A Service in front of several gateways: each new connection goes to one of those that live, at random."""
import random
import socket

from support.proxy import Proxy


class Balancer(Proxy):
    """`servers` have a port each; who does not take the connection is dead."""

    def __init__(self, servers, seed=None):
        self.servers = servers
        self.random = random.Random(seed)
        super().__init__(None)

    def reach(self):
        for server in self.random.sample(self.servers, len(self.servers)):
            try:
                return socket.create_connection(("127.0.0.1", server.port), timeout=5)
            except OSError:
                continue
        raise ConnectionRefusedError("no server lives")
