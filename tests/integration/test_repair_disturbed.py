"""What goes wrong while something else is being put right: nothing that the kernel has said is lost by it, and nothing that lives is
ended or left behind."""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess

import pytest

from support.processes import is_alive, wait_until

SETTLED = 20  # looks in a row at which no gateway has started another launcher
STARTED_AGAIN = "another gateway has started it again"
WITHOUT_INOTIFY = ["unshare", "--user", "--map-root-user", "sh", "-c",
                   'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
FAILING_LAUNCHER = "#!/bin/sh\necho 'error while loading shared libraries' >&2\nkill -ABRT $$\n"


@pytest.fixture
def own_launcher(build, tmp_path):
    path = tmp_path / "elara-launcher"
    shutil.copy(build / "elara-launcher", path)
    return path


@contextlib.contextmanager
def replaced(path, text=None):
    """Something else, or nothing, stands in the program's place."""
    aside = path.with_suffix(".aside")
    os.rename(path, aside)
    if text is not None:
        path.write_text(text)
        path.chmod(0o755)
    yield
    os.rename(aside, path)


def start(gateway, connect):
    kernel_id = gateway.start_kernel()["id"]
    assert connect(gateway, kernel_id).run_cell("print precious").text() == "precious\n"
    return kernel_id


def kill_launcher(gateway, kernel_id, pids=None):
    pids = pids or wait_until(lambda: gateway.launcher_pids(kernel_id), what="a launcher")
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), what="the launcher's end")


def make_dead(kernel_id, *gateways):
    """Without a launcher: each gateway gives it a few new ones."""
    still = 0
    while still < SETTLED:
        pids = gateways[0].launcher_pids(kernel_id)
        still = 0 if pids or any(gateway.model(kernel_id)["execution_state"] != "dead" for gateway in gateways) else still + 1
        if pids:
            kill_launcher(gateways[0], kernel_id, pids)


def is_kept(gateway, kernel_id):
    return "precious" in gateway.get(f"/api/kernels/{kernel_id}/journal").text


def restart(gateway, kernel_id):
    return gateway.post(f"/api/kernels/{kernel_id}/restart")


def change_record(gateway, kernel_id, **members):
    path = gateway.kernel_directory(kernel_id) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


def test_restart_without_a_launcher_program_keeps_the_journal(start_gateway, connect, own_launcher):
    gateway = start_gateway("--launcher", str(own_launcher))
    kernel_id = start(gateway, connect)
    make_dead(kernel_id, gateway)
    with replaced(own_launcher):
        answer = restart(gateway, kernel_id)
        assert answer.status_code == 500 and str(own_launcher) in answer.json()["message"]
        assert gateway.model(kernel_id)["execution_state"] == "dead"
    assert restart(gateway, kernel_id).status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert is_kept(gateway, kernel_id)


def test_launcher_that_failed_once_goes_on_in_its_journal(start_gateway, connect, own_launcher):
    gateway = start_gateway("--launcher", str(own_launcher))
    kernel_id = start(gateway, connect)
    launchers = gateway.launcher_pids(kernel_id)
    with replaced(own_launcher, FAILING_LAUNCHER):
        kill_launcher(gateway, kernel_id, launchers)
        assert "error while loading" in gateway.wait_for_state(kernel_id, "dead")["reason"]
    assert restart(gateway, kernel_id).status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert is_kept(gateway, kernel_id)


def test_restart_with_a_damaged_record_says_so_and_keeps_the_journal(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = start(gateway, connect)
    make_dead(kernel_id, gateway)
    record = gateway.kernel_directory(kernel_id) / "record.json"
    whole = record.read_text()
    record.write_text(whole[:-20])
    answer = restart(gateway, kernel_id)
    assert answer.status_code == 500 and "record.json" in answer.json()["message"]
    record.write_text(whole)
    assert restart(gateway, kernel_id).status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert is_kept(gateway, kernel_id)


def test_restart_while_somebody_else_holds_the_place_waits_for_it(start_gateway, connect):
    first = start_gateway()
    kernel_id = start(first, connect)
    make_dead(kernel_id, first)
    first.kill()
    lock = os.open(first.kernel_directory(kernel_id), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as a launcher that is just starting
    second = start_gateway(home=first.home)
    place = os.stat(second.kernel_directory(kernel_id)).st_ino
    assert restart(second, kernel_id).status_code == 200
    assert os.stat(second.kernel_directory(kernel_id)).st_ino == place
    os.close(lock)
    second.wait_for_state(kernel_id, "idle")
    assert is_kept(second, kernel_id) and os.stat(second.kernel_directory(kernel_id)).st_ino == place


def test_dead_kernel_that_another_gateway_started_again_lives_in_both(start_gateway, connect):
    first = start_gateway()
    second = start_gateway(home=first.home)
    kernel_id = start(first, connect)
    second.wait_for_state(kernel_id, "idle")
    make_dead(kernel_id, first, second)
    assert restart(first, kernel_id).status_code == 200
    wait_until(lambda: STARTED_AGAIN in second.log(), what="the second one's notice")  # that nobody asked for
    second.wait_for_state(kernel_id, "idle")
    assert connect(second, kernel_id).run_cell("print both").text() == "both\n"
    assert is_kept(second, kernel_id)


def test_gateway_that_is_told_nothing_removes_no_kernel_of_another(start_gateway, connect):
    """Where inotify is exhausted it finds out when it wants to remove what it takes for dead."""
    if subprocess.run([*WITHOUT_INOTIFY, "true"], check=False).returncode != 0:
        pytest.skip("machine limit: no user namespaces")
    first = start_gateway()
    second = start_gateway("--failed-retention", "8s", home=first.home, prefix=WITHOUT_INOTIFY)
    kernel_id = start(first, connect)
    second.wait_for_state(kernel_id, "idle")
    make_dead(kernel_id, first, second)
    assert restart(first, kernel_id).status_code == 200
    first.wait_for_state(kernel_id, "idle")
    wait_until(lambda: STARTED_AGAIN in second.log(), what="the end of its patience")
    second.wait_for_state(kernel_id, "idle")
    assert connect(first, kernel_id).run_cell("print both").text() == "both\n" and is_kept(second, kernel_id)


def test_frozen_launcher_is_waited_for(start_gateway, connect):
    first = start_gateway()
    kernel_id = start(first, connect)
    [launcher] = first.launcher_pids(kernel_id)
    first.kill()
    os.kill(launcher, signal.SIGSTOP)
    second = start_gateway("--launch-timeout", "1s", "--failed-retention", "1s", home=first.home)
    assert second.model(kernel_id)["execution_state"] == "starting"
    os.kill(launcher, signal.SIGCONT)
    second.wait_for_state(kernel_id, "idle")
    assert is_alive(launcher) and is_kept(second, kernel_id)


def test_restart_of_a_frozen_one_replaces_its_launcher(start_gateway, connect):
    first = start_gateway()
    kernel_id = start(first, connect)
    [launcher] = first.launcher_pids(kernel_id)
    first.kill()
    os.kill(launcher, signal.SIGSTOP)
    second = start_gateway(home=first.home)
    assert restart(second, kernel_id).status_code == 200
    second.wait_for_state(kernel_id, "idle")
    assert not is_alive(launcher) and is_kept(second, kernel_id)


def test_launcher_is_found_though_its_record_names_another(start_gateway, connect):
    """As when the disk was full when it followed an earlier one."""
    first = start_gateway()
    kernel_id = start(first, connect)
    [launcher] = first.launcher_pids(kernel_id)
    first.kill()
    change_record(first, kernel_id, launcher_pid=2 ** 22 + 1)
    second = start_gateway(home=first.home)
    second.wait_for_state(kernel_id, "idle")
    assert is_alive(launcher) and is_kept(second, kernel_id)


def test_launcher_with_another_in_its_record_is_ended_with_its_kernel(start_gateway, connect):
    first = start_gateway()
    kernel_id = start(first, connect)
    [launcher] = first.launcher_pids(kernel_id)
    kernels = first.kernel_pids(kernel_id)
    first.kill()
    os.kill(launcher, signal.SIGSTOP)  # so that it cannot be asked to end
    change_record(first, kernel_id, launcher_pid=2 ** 22 + 1)
    second = start_gateway(home=first.home)
    assert second.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not is_alive(launcher) and not any(map(is_alive, kernels)), what="the end of all")
    wait_until(lambda: not second.kernel_directory(kernel_id).exists(), what="its place to be removed")
