"""What a kernel inherits from the gateway, and what a user learns when its launcher goes."""
import os
import resource
import signal

import pytest

from support.processes import is_alive, wait_until

PRINT_LIMIT = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"


@pytest.fixture
def soft_limit():
    """This process's soft limit of open files is lowered for the length of a test; the gateway inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(700, hard - 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    yield low, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def limit_of(pid):
    line = next(line for line in open(f"/proc/{pid}/limits") if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    return int(soft), int(hard)


def test_kernel_has_the_limit_of_files_that_the_gateway_was_started_with(start_gateway, connect, soft_limit):
    """select() breaks on descriptors above 1023: the gateway's raised limit is its own."""
    gateway = start_gateway()
    assert limit_of(gateway.process.pid) == (soft_limit[1], soft_limit[1])
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id, timeout=60)
    assert client.run_cell(PRINT_LIMIT).text().split() == [str(limit) for limit in soft_limit]
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell(PRINT_LIMIT).text().split() == [str(limit) for limit in soft_limit]
    raised = client.run_cell("resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900)); " + PRINT_LIMIT.split("; ")[1]
                             if soft_limit[1] >= 900 else "print('900 900')")
    assert raised.text().split() == ["900", "900"], "a kernel may raise its own"


SENTENCE = "The kernel's launcher was killed by signal {}, and the kernel ended with it."


@pytest.mark.parametrize("signum, name", [(signal.SIGKILL, "9 (SIGKILL, as when memory runs out)"),
                                          (signal.SIGUSR1, "10 (SIGUSR1)")], ids=["SIGKILL", "SIGUSR1"])
def test_reason_after_the_launchers_death_is_one_sentence(start_gateway, connect, signum, name):
    gateway = start_gateway("--restart-limit", "0")  # else the kernel is restarted, too
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    pid = int(client.run_cell("log something of the kernel\npid").text())
    os.kill(gateway.launcher_pids(kernel_id)[0], signum)
    client.receive_until(lambda m: "restart it to go on" in m["content"].get("text", ""))
    reason = gateway.wait_for_state(kernel_id, "dead")["reason"]
    assert reason == SENTENCE.format(name)
    wait_until(lambda: not is_alive(pid), what="the kernel's end")
    cell = connect(gateway, kernel_id).run_cell("print 1")
    assert cell.error["evalue"] == reason
    assert "last lines of its launcher" in gateway.log(), "for the admin"
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(gateway, kernel_id).run_cell("print on").text() == "on\n"


def test_launcher_that_ends_by_itself_says_so(start_gateway, connect):
    """Of an adopted launcher nobody can tell how it ended."""
    first = start_gateway("--restart-limit", "0")
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle")
    first.kill()
    second = start_gateway(home=first.home)
    os.kill(second.launcher_pids(kernel_id)[0], signal.SIGKILL)
    reason = second.wait_for_state(kernel_id, "dead")["reason"]
    assert reason == "The kernel's launcher ended for an unknown cause, and the kernel ended with it."


def test_id_can_be_used_again_after_a_forced_removal(start_gateway, specs, connect):
    """The launcher hangs, so that DELETE ends in a removal by force; its directory must not take the next one along."""
    gateway = start_gateway("--shutdown-wait", "200ms")
    wish = {"env": {"KERNEL_ID": "11111111-2222-4333-8444-555555555555"}}
    kernel_id = gateway.start_kernel(**wish)["id"]
    gateway.wait_for_state(kernel_id, "idle")
    os.kill(gateway.launcher_pids(kernel_id)[0], signal.SIGSTOP)
    assert gateway.delete(f"/api/kernels/{kernel_id}", timeout=60).status_code == 204

    def start_again():
        answer = gateway.post("/api/kernels", json={"name": "stub", **wish})
        if answer.status_code == 503:
            assert "being removed" in answer.text and "try again" in answer.text
            return None
        return answer

    answer = wait_until(start_again, what="a start of the same id")
    assert answer.status_code == 201 and answer.json()["id"] == kernel_id, answer.text
    assert connect(gateway, kernel_id).run_cell("print on").text() == "on\n"
    assert (gateway.kernel_directory(kernel_id) / "record.json").exists()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
