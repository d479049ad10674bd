"""SIGUSR2: a gateway that is replaced by its successor."""
import contextlib
import os
import select
import signal
from pathlib import Path

from support.processes import is_alive


class Adopted:
    """The process of a new gateway, which is nobody's child here, as the Popen that a Gateway has."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None
        self.descriptor = os.pidfd_open(pid)  # it tells when all its threads are gone, and its sockets with them

    def poll(self):
        return 0 if select.select([self.descriptor], [], [], 0)[0] else None

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout=None):
        assert select.select([self.descriptor], [], [], timeout or 60)[0], "the new gateway does not end"
        return 0


def gateway_pids(gateway):
    """Of the processes that serve this runtime directory, oldest first."""
    pids = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and is_alive(int(entry.name)):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if Path(command[0].decode()).name == "elara-gateway" and str(gateway.runtime).encode() in command:
                    pids.append(int(entry.name))
    return sorted(pids)


def hand_over(gateway):
    """Until the old one has ended; the new one takes its place here too."""
    old = gateway.process
    old.send_signal(signal.SIGUSR2)
    assert old.wait(30) == 0, gateway.log()[-3000:]
    new = [pid for pid in gateway_pids(gateway) if pid != old.pid]
    assert len(new) == 1, gateway.log()[-3000:]
    gateway.process = Adopted(new[0])
