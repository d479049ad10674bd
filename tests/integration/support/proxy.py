"""A TCP proxy that can go bad in the ways networks and servers do."""
import contextlib
import select
import socket
import struct
import threading


SWALLOWED_TURNS = 20


def reset(sock):
    """Ends a connection with RST; what lies in its buffers is gone."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


class Proxy:
    """Forwards connections to a port. freeze(): nothing passes any more, and nobody is told. swallow(): what comes from the server is read,
    acknowledged and lost, as a notebook server does for a browser that is gone. Both concern the connections there are; new ones are fine.
    While `refuses` is set, they are not."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.refuses = False
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()

    def reach(self):
        return socket.create_connection(("127.0.0.1", self.target), timeout=5)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self.refuses:
                    reset(client)
                    continue
                try:
                    server = self.reach()
                except OSError:
                    client.close()
                    continue
                pair = Pair(client, server)
                with self.lock:
                    self.pairs.append(pair)
                threading.Thread(target=pair.run, daemon=True).start()

    def all(self):
        with self.lock:
            self.pairs = [pair for pair in self.pairs if pair.mode != "cut"]
            return list(self.pairs)

    def freeze(self):
        for pair in self.all():
            pair.mode = "frozen"

    def swallow(self):
        for pair in self.all():
            pair.mode = "swallowing"

    def wait_swallowed(self):
        """Until each of them has lost something; or there is nothing to lose."""
        for pair in self.all():
            if pair.mode == "swallowing":
                pair.swallowed.wait(5)

    def cut(self):
        """RST to both sides of every connection."""
        for pair in self.all():
            pair.mode = "cut"
            reset(pair.client)
            reset(pair.server)
        with self.lock:
            self.pairs = []


class Pair:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.mode = "open"
        self.swallowed = threading.Event()  # some turns of it

    def run(self):
        turns = 0
        try:
            while self.mode != "cut":
                if self.mode == "frozen":
                    select.select([], [], [], 0.01)
                    continue
                ready, _, _ = select.select([self.client, self.server], [], [], 0.05)
                if self.mode == "frozen":
                    continue
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        self.mode = "cut"
                    elif source is self.client:
                        self.server.sendall(data)
                    elif self.mode == "swallowing":
                        turns += 1
                        if turns >= SWALLOWED_TURNS:
                            self.swallowed.set()
                    else:
                        self.client.sendall(data)
        except (OSError, ValueError):
            pass
        self.mode = "cut"
        with contextlib.suppress(OSError):
            self.client.close()
        with contextlib.suppress(OSError):
            self.server.close()
