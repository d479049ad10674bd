"""Between gateways and the launcher of one kernel: what they say passes, orders to end the kernel wait until they are let go."""
import contextlib
import json
import os
import threading

import zmq

from support.link import COMMAND, EXTERNAL, HEADER


def payloads(parts, kind):
    """Of the frames of one type in a batch."""
    batch, *further = parts
    at = 0
    while at < len(batch):
        found, flags, _, length, _ = HEADER.unpack_from(batch, at)
        at += HEADER.size
        payload = further.pop(0) if flags & EXTERNAL else batch[at:at + length]
        at += 0 if flags & EXTERNAL else length
        if found == kind:
            yield payload


def is_order(parts):
    return any(json.loads(payload)["command"] == "shutdown" for payload in payloads(parts, COMMAND))


class LinkProxy:
    """Takes the place of a launcher's socket; gateways that connect from now on are led through it. `held` are the orders that wait."""

    def __init__(self, directory):
        self.link = directory / "link"
        self.real = directory / "real"
        os.rename(self.link, self.real)
        self.context = zmq.Context()
        self.front = self.context.socket(zmq.ROUTER)
        self.front.bind(f"ipc://{self.link}")
        self.wake = self.context.socket(zmq.PULL)
        self.wake.bind("inproc://wake")
        self.backs = {}  # gateway's connection: our connection to the launcher in its place
        self.held = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.say(b"end")
        self.thread.join(10)
        self.context.destroy(linger=0)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.real, self.link)

    def say(self, word):
        with self.context.socket(zmq.PUSH) as push:
            push.connect("inproc://wake")
            push.send(word)

    def let_go(self):
        """What waits goes on, in the order in which it came; so does all that comes later."""
        self.say(b"go")

    def run(self):
        holds = True
        while True:
            poller = zmq.Poller()
            for socket in (self.wake, self.front, *self.backs.values()):
                poller.register(socket, zmq.POLLIN)
            ready = dict(poller.poll())
            if self.wake in ready:
                if self.wake.recv() == b"end":
                    return
                holds = False
                for gateway, parts in self.held:
                    self.backs[gateway].send_multipart(parts)
            if self.front in ready:
                gateway, *parts = self.front.recv_multipart()
                if holds and is_order(parts):
                    self.held.append((gateway, parts))
                else:
                    self.back(gateway).send_multipart(parts)
            for gateway, back in list(self.backs.items()):
                if back in ready:
                    self.front.send_multipart([gateway, *back.recv_multipart()])

    def back(self, gateway):
        if gateway not in self.backs:
            self.backs[gateway] = self.context.socket(zmq.DEALER)
            self.backs[gateway].connect(f"ipc://{self.real}")
        return self.backs[gateway]
