"""Launchers and gateways are killed, frozen and restarted in any order, through two gateways on one runtime directory. Whatever the
order: no kernel is gone before it is deleted, nothing it has said is lost, and no launcher is left without its place."""
import contextlib
import os
import random
import signal

import pytest
import requests

from support.processes import is_alive, wait_until

SETTINGS = ("--launch-timeout", "20s", "--shutdown-wait", "1s")
STEPS = 25
SEEDS = range(4)
READ_ALL = 60  # seconds until everything has come to rest


class Storm:
    def __init__(self, seed, start_gateway, connect):
        self.random = random.Random(seed)
        self.connect = connect
        self.begin = lambda: start_gateway(*SETTINGS, home=self.home)
        first = start_gateway(*SETTINGS)
        self.home = first.home
        self.gateways = [first, self.begin()]
        self.kernel_id = first.start_kernel()["id"]
        self.said = []
        self.frozen = set()
        self.steps = []

    def launchers(self):
        return self.gateways[0].launcher_pids(self.kernel_id)

    def signal_launchers(self, signum):
        pids = self.launchers()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        return pids

    def kill_launcher(self):
        self.signal_launchers(signal.SIGKILL)
        self.frozen.clear()

    def freeze_launcher(self):
        self.frozen.update(self.signal_launchers(signal.SIGSTOP))

    def thaw(self):
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen.clear()

    def kill_gateway(self):
        which = self.random.randrange(2)
        self.gateways[which].kill()
        self.gateways[which] = self.begin()

    def restart(self):
        self.ask("post", self.random.choice(self.gateways), "/restart", timeout=2)

    def speak(self):
        """A line that has arrived is one that must stay."""
        gateway = self.random.choice(self.gateways)
        if self.frozen or self.state(gateway) != "idle":
            return
        line = f"line {len(self.said)} of the storm"
        with contextlib.suppress(Exception):
            if self.connect(gateway, self.kernel_id).run_cell(f"print {line}", timeout=2).text() == line + "\n":
                self.said.append(line)

    def ask(self, method, gateway, path="", timeout=30):
        with contextlib.suppress(requests.Timeout):
            return gateway.request(method, f"/api/kernels/{self.kernel_id}{path}", timeout=timeout)
        return None

    def state(self, gateway):
        answer = self.ask("get", gateway)
        assert answer is not None and answer.status_code in (200, 503), f"{self.steps}: {answer.status_code} {answer.text}"
        return answer.json()["execution_state"] if answer.status_code == 200 else None

    def step(self):
        action = self.random.choice([self.kill_launcher, self.kill_launcher, self.kill_gateway, self.freeze_launcher, self.thaw,
                                     self.restart, self.restart, self.speak, self.speak, self.speak])
        self.steps.append(action.__name__)
        action()
        for gateway in self.gateways:
            self.state(gateway)

    def come_to_rest(self):
        self.thaw()
        gateway = self.gateways[0]

        def is_idle():
            state = self.state(gateway)
            if state == "dead":
                self.ask("post", gateway, "/restart")
            return state == "idle" and self.state(self.gateways[1]) == "idle"

        wait_until(is_idle, READ_ALL, f"{self.steps}: an idle kernel in both gateways")
        assert len(self.launchers()) == 1, self.steps
        for each in self.gateways:
            journal = wait_until(lambda each=each: self.ask("get", each, "/journal"), what="the journal").text
            assert [line for line in self.said if line not in journal] == [], self.steps

    def end(self):
        launchers, kernels = self.launchers(), self.gateways[0].kernel_pids(self.kernel_id)
        if self.random.random() < 0.5:  # one that has to be removed by force, while the other gateway sees it end
            self.freeze_launcher()
        assert self.ask("delete", self.random.choice(self.gateways)).status_code == 204
        wait_until(lambda: not any(map(is_alive, [*launchers, *kernels])), what="the end of its processes")
        wait_until(lambda: not self.gateways[0].kernel_directory(self.kernel_id).exists(), what="its place to be removed")
        assert self.launchers() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_storm(start_gateway, connect, seed):
    storm = Storm(seed, start_gateway, connect)
    wait_until(lambda: storm.state(storm.gateways[0]) == "idle", what="the kernel")
    for _ in range(STEPS):
        storm.step()
    storm.come_to_rest()
    storm.end()
