"""Between gateways and the launcher of one kernel: what they say passes; orders to end the kernel, and the answers, wait until they are let go."""
import contextlib
import json
import os
import threading

import zmq

from support.link import COMMAND, EXTERNAL, HEADER, RESULT


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
    """Takes the place of a launcher's socket; gateways that connect from now on are led through it. `held` are the orders that wait,
    `answers` what the launcher has said since it answered one of them."""

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
        self.answers = []
        self.answered = set()
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

    def let_go(self, answers=True):
        """The orders go on, in the order in which they came; so does all that comes later. Without answers these wait until they are let go."""
        self.say(b"all" if answers else b"orders")

    def run(self):
        holds = {"orders", "answers"}
        while True:
            poller = zmq.Poller()
            for socket in (self.wake, self.front, *self.backs.values()):
                poller.register(socket, zmq.POLLIN)
            ready = dict(poller.poll())
            if self.wake in ready:
                word = self.wake.recv()
                if word == b"end":
                    return
                if "orders" in holds:
                    for gateway, parts in self.held:
                        self.backs[gateway].send_multipart(parts)
                holds = {"answers"} if word == b"orders" else set()
                for gateway, parts in self.answers if not holds else ():
                    self.front.send_multipart([gateway, *parts])
            if self.front in ready:
                gateway, *parts = self.front.recv_multipart()
                if "orders" in holds and is_order(parts):
                    self.held.append((gateway, parts))
                else:
                    self.back(gateway).send_multipart(parts)
            for gateway, back in list(self.backs.items()):
                if back not in ready:
                    continue
                parts = back.recv_multipart()
                if holds == {"answers"} and (gateway in self.answered or any(payloads(parts, RESULT))):
                    self.answered.add(gateway)
                    self.answers.append((gateway, parts))
                else:
                    self.front.send_multipart([gateway, *parts])

    def back(self, gateway):
        if gateway not in self.backs:
            self.backs[gateway] = self.context.socket(zmq.DEALER)
            self.backs[gateway].connect(f"ipc://{self.real}")
        return self.backs[gateway]
