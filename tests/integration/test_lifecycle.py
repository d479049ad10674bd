"""Interrupt, restart, shutdown, death and what the notebook is told."""
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.processes import is_alive, wait_until


def kernel_pid(client):
    return int(client.run_cell("pid").text())


def start_sleep(client, ms=30000):
    msg_id = client.send_execute(f"sleep {ms}")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    return msg_id


@pytest.mark.parametrize("spec", ["stub", "stub-message"], ids=["by signal", "by message"])
def test_interrupt_ends_a_running_cell(gateway, connect, spec):
    with gateway.kernel(spec) as kernel_id:
        client = connect(gateway, kernel_id)
        msg_id = start_sleep(client)
        assert gateway.post(f"/api/kernels/{kernel_id}/interrupt", json={}).status_code == 204
        cell = client.collect(msg_id, timeout=5)
        assert cell.error["ename"] == "KeyboardInterrupt"
        assert client.run_cell("print on").text() == "on\n"


def test_interrupt_reaches_ipykernel(gateway, connect):
    with gateway.kernel("python3") as kernel_id:
        client = connect(gateway, kernel_id)
        msg_id = client.send_execute("import time\nprint('go', flush=True)\nwhile True: time.sleep(0.1)")
        client.receive_until(lambda m: m["content"].get("text") == "go\n", timeout=60)
        gateway.post(f"/api/kernels/{kernel_id}/interrupt")
        assert client.collect(msg_id).error["ename"] == "KeyboardInterrupt"


def test_interrupt_of_a_kernel_that_starts_is_answered_and_lets_it_start(start_gateway, specs, connect):
    """SIGINT would end a process that has no handler yet."""
    specs.stub("slow", "--start-delay", "1000")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("slow")["id"]
    pids = wait_until(lambda: gateway.kernel_pids(kernel_id), what="the kernel's process")
    while gateway.model(kernel_id)["execution_state"] == "starting":
        assert gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert kernel_pid(connect(gateway, kernel_id)) in pids


def test_alternate_interrupt_signal(start_gateway, specs, connect):
    script = ('trap "echo caught >&2" USR2; (trap "" USR2; exec "$0" -f "$1") & '
              'while kill -0 $! 2>/dev/null; do wait; done')
    specs.add("trap", ["bash", "-c", script, specs.stub_program, "{connection_file}"],
              env={"EG_ALTERNATE_SIGINT": "SIGUSR2"})
    gateway = start_gateway()
    with gateway.kernel("trap") as kernel_id:
        connect(gateway, kernel_id).kernel_info()
        gateway.post(f"/api/kernels/{kernel_id}/interrupt")
        log = gateway.kernel_directory(kernel_id) / "kernel.log"
        wait_until(lambda: "caught" in log.read_text(errors="replace"), what="SIGUSR2 in the kernel")


def test_restart_in_place_keeps_id_directory_and_clients(gateway, kernel, connect):
    client = connect(gateway, kernel)
    before = kernel_pid(client)
    assert gateway.post(f"/api/kernels/{kernel}/restart").status_code == 200
    cell = client.run_cell("pid")
    assert int(cell.text()) != before and not is_alive(before)
    assert cell.of_type("execute_input")[0]["content"]["execution_count"] == 1
    assert gateway.model(kernel)["id"] == kernel


def test_restart_of_a_stuck_kernel_works(gateway, connect):
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        client.send_execute("silence")
        client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
        assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
        assert client.run_cell("print new").text() == "new\n"


def test_restarts_at_once_are_one_and_all_answer_200(start_gateway, specs, connect):
    specs.stub("stubborn", "--ignore-shutdown", "--ignore-sigint")  # half of the wait has passed before it restarts
    gateway = start_gateway("--shutdown-wait", "2s")
    with gateway.kernel("stubborn") as kernel_id:
        connect(gateway, kernel_id).kernel_info()
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: gateway.post(f"/api/kernels/{kernel_id}/restart").status_code, range(3)))
        assert answers == [200, 200, 200]
        assert (gateway.kernel_directory(kernel_id) / "launcher.log").read_text().count("The kernel was restarted.") == 1


def test_list_never_misses_a_restarting_kernel(gateway, kernel):
    """JupyterLab throws away a kernel that is absent from one answer."""
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(lambda: [gateway.post(f"/api/kernels/{kernel}/restart").status_code for _ in range(20)])
        polls = 0
        while not restart.done():
            assert kernel in [model["id"] for model in gateway.get("/api/kernels").json()]
            assert gateway.get(f"/api/kernels/{kernel}").status_code == 200
            polls += 1
        assert restart.result() == [200] * 20 and polls > 3


def test_running_cell_of_a_restarted_kernel_does_not_hang(gateway, kernel, connect):
    client = connect(gateway, kernel)
    start_sleep(client)
    gateway.post(f"/api/kernels/{kernel}/restart")
    assert client.run_cell("print free").text() == "free\n"


def test_cells_sent_while_a_kernel_is_being_ended_run_in_the_new_one(start_gateway, specs, connect, tmp_path):
    tame = tmp_path / "tame"  # the next one is
    script = '[ -e "$0" ] || set -- "$@" --ignore-shutdown --ignore-sigterm; exec "$@"'
    specs.add("stubborn", ["sh", "-c", script, str(tame), specs.stub_program, "-f", "{connection_file}"])
    gateway = start_gateway("--shutdown-wait", "10m")
    kernel_id = gateway.start_kernel("stubborn")["id"]
    client = connect(gateway, kernel_id)
    before = kernel_pid(client)
    tame.touch()
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(gateway.post, f"/api/kernels/{kernel_id}/restart")
        gateway.wait_for_state(kernel_id, "restarting")
        cells = [client.send_execute("pid"), client.send_execute("print last")]
        client.receive_until(lambda m: m["parent_header"].get("msg_id") == cells[0])  # it shows that it waits
        os.kill(before, signal.SIGKILL)
        assert restart.result().status_code == 200
    first, last = client.collect_all(cells)
    assert int(first.text()) in gateway.kernel_pids(kernel_id) and last.text() == "last\n"
    assert [cell.reply["execution_count"] for cell in (first, last)] == [1, 2]


def test_cell_that_waits_in_the_launcher_is_answered_when_its_kernel_is_restarted(start_gateway, specs, connect):
    """It was meant for the process that goes."""
    specs.stub("late", "--start-delay", "600000")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("late")["id"]
    client = connect(gateway, kernel_id)
    msg_id = client.send_execute("print never")
    journal = gateway.kernel_directory(kernel_id) / "journal"
    wait_until(lambda: any(msg_id.encode() in part.read_bytes() for part in journal.glob("*")), what="the note of it")
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(gateway.post, f"/api/kernels/{kernel_id}/restart")
        cell = client.collect(msg_id)
        gateway.delete(f"/api/kernels/{kernel_id}")  # else the restart would wait for the late one
        restart.result()
    assert cell.reply["status"] == "aborted" and len(cell.of_type("execute_reply")) == 1
    assert cell.states[-1] == "idle" and not cell.of_type("execute_input")


def test_shutdown_is_asked_for_politely(start_gateway, connect):
    gateway = start_gateway("--shutdown-wait", "10m")  # a kernel that obeys is not waited for
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    pid = kernel_pid(client)
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert not is_alive(pid)
    assert not gateway.kernel_directory(kernel_id).exists()
    wait_until(lambda: not gateway.launcher_pids(kernel_id), what="the launcher's end")


@pytest.mark.parametrize("options, least", [
    (["--ignore-shutdown"], 0.5), (["--ignore-shutdown", "--ignore-sigint"], 0.5),  # SIGTERM ends it, after half of the wait
    (["--ignore-shutdown", "--ignore-sigint", "--ignore-sigterm"], 1.0),  # SIGKILL
], ids=["needs SIGTERM", "ignores SIGINT", "needs SIGKILL"])
def test_shutdown_goes_on_in_steps(start_gateway, specs, connect, options, least):
    specs.stub("stubborn", *options)
    gateway = start_gateway("--shutdown-wait", "1s")
    kernel_id = gateway.start_kernel("stubborn")["id"]
    pid = kernel_pid(connect(gateway, kernel_id))
    begin = time.monotonic()
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert time.monotonic() - begin > least - 0.05, "no step is left out"
    assert not is_alive(pid)


def test_sigterm_and_sigint_come_before_sigkill(start_gateway, specs, connect, tmp_path):
    note = tmp_path / "signals"
    script = (f"trap 'echo INT >> {note}' INT; trap 'echo TERM >> {note}; kill -9 $child' TERM; "
              '(trap "" INT; exec "$0" -f "$1" --ignore-shutdown --ignore-sigterm) & child=$!; '
              'while kill -0 $child 2>/dev/null; do wait $child; done')
    specs.add("noting", ["bash", "-c", script, specs.stub_program, "{connection_file}"])
    gateway = start_gateway("--shutdown-wait", "4s")
    kernel_id = gateway.start_kernel("noting")["id"]
    connect(gateway, kernel_id).kernel_info()
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert note.read_text().split() == ["INT", "TERM"]


def test_shutdown_takes_the_kernels_children_along(gateway, connect):
    with gateway.kernel("python3") as kernel_id:
        client = connect(gateway, kernel_id)
        child = int(client.run_cell("import subprocess; print(subprocess.Popen(['sleep', '300']).pid)",
                                    timeout=60).text())
        orphan = int(client.run_cell("print(subprocess.run(['sh', '-c', 'setsid sleep 301 >/dev/null 2>&1 & echo $!'],"
                                     " capture_output=True, text=True).stdout)").text())
        assert is_alive(child) and is_alive(orphan)
    wait_until(lambda: not is_alive(child) and not is_alive(orphan), what="the end of the kernel's children")


# -- a kernel that dies by itself --

def collect_death(client, timeout=15):
    """What the clients are told: all messages up to the state `restarting` or `dead`."""
    messages = []

    def is_end(message):
        messages.append(message)
        return (message["header"]["msg_type"] == "status" and
                message["content"]["execution_state"] in ("restarting", "dead"))

    end = client.receive_until(is_end, timeout)
    notices = "".join(m["content"]["text"] for m in messages
                      if m["header"]["msg_type"] == "stream" and m["content"]["name"] == "stderr")
    return end["content"]["execution_state"], notices


def test_killed_kernel_is_started_again_and_the_notebook_told_why(gateway, kernel, connect):
    client = connect(gateway, kernel)
    pid = kernel_pid(client)
    start_sleep(client)
    os.kill(pid, signal.SIGKILL)
    state, notice = collect_death(client)
    assert state == "restarting"
    assert re.search(r"SIGKILL|signal 9", notice), notice
    assert client.run_cell("print again").text() == "again\n"
    assert kernel_pid(client) != pid
    assert gateway.model(kernel)["id"] == kernel


def test_notice_names_the_exit_code_and_the_last_lines(gateway, kernel, connect):
    client = connect(gateway, kernel)
    client.send_execute("log the disk is full\nexit 7")
    state, notice = collect_death(client)
    assert state == "restarting"
    assert "7" in notice and "the disk is full" in notice


def test_notice_names_a_segmentation_fault(gateway, kernel, connect):
    client = connect(gateway, kernel)
    client.send_execute("segv")
    _, notice = collect_death(client)
    assert re.search(r"SIGSEGV|signal 11|[Ss]egmentation", notice), notice


def test_what_is_said_for_a_dead_kernel_bears_its_session(gateway, kernel, connect):
    """JupyterLab drops what it has not yet drawn when a message of another session comes."""
    client = connect(gateway, kernel)
    own = {m["header"]["session"] for m in client.run_cell("print alive").messages}
    assert len(own) == 1
    client.send_execute("exit 3")
    said = []
    client.receive_until(lambda m: said.append(m) or m["content"].get("execution_state") == "restarting")
    assert {"stream", "execute_reply"} <= {m["header"]["msg_type"] for m in said}
    assert {m["header"]["session"] for m in said} == own


def test_instant_reconnect_after_the_restarting_notice_works(gateway, kernel, connect):
    """JupyterLab closes and reopens its socket 5 ms after the status."""
    client = connect(gateway, kernel, session_id="lab")
    client.send_execute("exit 1")
    collect_death(client)
    client.close()
    back = connect(gateway, kernel, session_id="lab")
    assert back.kernel_info()["status"] == "ok"
    assert back.run_cell("print back").text() == "back\n"


def test_kernel_that_keeps_dying_is_given_up_with_the_reason(start_gateway, connect):
    gateway = start_gateway("--restart-limit", "2")
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    states, notices = [], ""
    for _ in range(3):
        client.send_execute("exit 9")
        state, notice = collect_death(client)
        states.append(state)
        notices += notice
    assert states == ["restarting", "restarting", "dead"]
    model = gateway.wait_for_state(kernel_id, "dead")
    assert "9" in model["reason"]
    late = connect(gateway, kernel_id)
    cell = late.run_cell("print 1")
    assert cell.reply["status"] == "error" and "9" in cell.everything()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(gateway, kernel_id).run_cell("print alive").text() == "alive\n"
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204


def test_restart_by_hand_gives_a_kernel_that_died_all_its_lives_again(start_gateway, connect):
    gateway = start_gateway("--restart-limit", "1")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        for _ in range(2):
            client.send_execute("exit 9")
            assert collect_death(client)[0] == "restarting"
            assert client.run_cell("print up").text() == "up\n"
            assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200


def test_cells_of_a_kernel_that_died_do_not_hang(gateway, kernel, connect):
    client = connect(gateway, kernel)
    running, waiting = client.collect_all([client.send_execute("sleep 50\nexit 1"), client.send_execute("print next")])
    assert running.reply["status"] == "error" and "1" in running.reply["evalue"]
    assert waiting.reply["status"] in ("error", "aborted")
    assert client.run_cell("print fresh").text() == "fresh\n"


def test_cell_that_a_killed_kernel_never_began_says_why(gateway, kernel, connect):
    client = connect(gateway, kernel)
    client.run_cell("print before")
    (pid,) = gateway.kernel_pids(kernel)
    os.kill(pid, signal.SIGSTOP)  # it has the request, and says nothing of it
    first, second = (client.send_execute(f"print {name}") for name in ("first", "second"))
    journal = gateway.kernel_directory(kernel) / "journal"
    wait_until(lambda: any(second.encode() in part.read_bytes() for part in journal.glob("*")), what="the note of both")
    os.kill(pid, signal.SIGKILL)
    cell, waiting = client.collect_all([first, second])
    assert "signal 9" in cell.reply["evalue"] and "signal 9" in cell.text("stderr") and cell.states == ["busy", "idle"]
    assert waiting.reply["status"] == "aborted" and not waiting.text("stderr")


def test_state_follows_the_kernel(gateway, kernel, connect):
    client = connect(gateway, kernel)
    client.kernel_info()
    gateway.wait_for_state(kernel, "idle")
    msg_id = start_sleep(client, 1500)
    gateway.wait_for_state(kernel, "busy", timeout=1)
    client.collect(msg_id)
    gateway.wait_for_state(kernel, "idle", timeout=1)


def test_last_activity_moves_with_activity(gateway, kernel, connect):
    client = connect(gateway, kernel)
    client.run_cell("print 1")
    before = wait_until(lambda: gateway.model(kernel)["last_activity"])
    client.run_cell("sleep 5\nprint 2")
    wait_until(lambda: gateway.model(kernel)["last_activity"] > before, 5, "a later last_activity")
