"""NFS servers that are known by names: name servers that answer, that do not, and addresses behind which nobody is.

Who prepares homes has an /etc/hosts and an /etc/resolv.conf of its own.
"""
import contextlib
import socket
import struct
import threading

import pytest

from kernels import *  # noqa: F403
from homes import *  # noqa: F403
from homes import ADDRESS, PORT

SILENT, NOBODY, RESOLVER = "127.0.0.73", "127.0.0.74", "127.0.0.75"
NAME = "nfs.homes.test"
TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}  # RFC 1035, 3.2.2; RFC 3596


class Resolver:
    """A name server that knows NAME. answers=False: it does not answer. asked: how often it was asked."""

    def __init__(self, *addresses, answers=True):
        self.addresses, self.answers, self.asked = addresses, answers, 0

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", (RESOLVER, 53))
        self.thread.join()
        self.socket.close()

    def run(self):
        while received := self.socket.recvfrom(512):
            query, sender = received
            if query == b"":
                return
            self.asked += 1
            if self.answers:
                self.socket.sendto(self.answer(query), sender)

    def answer(self, query):
        """RFC 1035, 4.1."""
        end = query.index(0, 12)
        labels, at = [], 12
        while at < end:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += query[at] + 1
        is_known = ".".join(labels) == NAME
        family = TYPES.get(struct.unpack(">H", query[end + 1:end + 3])[0])
        found = [socket.inet_pton(family, one) for one in self.addresses if (family == socket.AF_INET6) == (":" in one)] if is_known else []
        records = [b"\xc0\x0c" + query[end + 1:end + 5] + struct.pack(">IH", 1, len(one)) + one for one in found]
        flags = 0x8180 if is_known else 0x8183  # NXDOMAIN
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:end + 5] + b"".join(records)


@pytest.fixture
def names(tmp_path):
    """names(hosts) gives words before a command: /etc/hosts has these lines then, and the name server is RESOLVER."""
    def names(*hosts):
        (tmp_path / "hosts").write_text("".join(f"{line}\n" for line in ("127.0.0.1 localhost", *hosts)))
        (tmp_path / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        script = 'mount --bind "$1/hosts" /etc/hosts && mount --bind "$1/resolv.conf" /etc/resolv.conf && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path]

    return names


@contextlib.contextmanager
def silent_server():
    """It takes connections and says nothing. Gives the listening socket."""
    with socket.create_server((SILENT, PORT)) as listener:
        listener.setblocking(False)
        yield listener


def test_the_addresses_of_a_name_are_tried_in_turn(server, names):
    """One where nobody listens, one that is silent, and the server's."""
    hosts = [f"{address} {NAME}" for address in (NOBODY, SILENT, ADDRESS)]
    with silent_server() as silent:
        assert server.prepare("/open", "turn=1001", "turn/below=1001", address=NAME, before=names(*hosts)) == ["ready"] * 2
        silent.accept()[0].close()  # it was there
    assert server.owner_of("open/turn") == (1001, 1001, 0o700)
    (told,) = server.prepare("/open", "turn=1001", address=NAME, deadline_ms=1500, before=names(hosts[0]))
    assert f"the NFS server {NAME} could not be reached within 1.5 s (home-deadline)" in told and "refused" in told


def test_a_dead_address_of_the_other_family_costs_nothing(server, names):
    with Resolver("::1", NOBODY, ADDRESS) as resolver:
        assert server.prepare("/open", "dual=1001", address=NAME, before=names()) == ["ready"]
    assert resolver.asked >= 2
    assert server.owner_of("open/dual") == (1001, 1001, 0o700)


def test_a_name_that_nobody_knows_is_told_with_its_setting(server, names):
    with Resolver():
        (told,) = server.prepare("/open", "who=1001", address="none.homes.test", deadline_ms=1000, before=names())
    assert "the NFS server none.homes.test could not be reached within 1 s (home-deadline)" in told
    assert "its name (home-server) cannot be resolved: " in told


def test_name_servers_that_are_silent_hold_up_nothing(server, names):
    """The deadline ends the start while the name is being asked for: the loop is not where that is waited for."""
    with Resolver(answers=False) as resolver:
        told = server.prepare("/open", "mute=1001", "mute2=1001", address=NAME, deadline_ms=300, before=names())
    assert resolver.asked
    assert told[0] == (f"the name of the NFS server {NAME} (home-server) was not resolved within 0.3 s (home-deadline): "
                       "the gateway's name servers do not answer")
    assert server.prepare("/open", "mute=1001") == ["ready"]
