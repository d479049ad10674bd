"""A kernel that cannot start: the first cell and the model tell the true reason."""
import sys

import pytest

from support.processes import wait_until
from test_rest import check_error


@pytest.fixture
def broken(start_gateway, specs):
    specs.add("missing", ["/opt/nowhere/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    specs.add("missing-program", ["no-such-kernel-program", "{connection_file}"])
    specs.add("missing-module", [sys.executable, "-m", "no_such_kernel_module", "-f", "{connection_file}"])
    specs.stub("crash", "--crash-at-start", "libhdf5.so.310: cannot open shared object file")
    specs.stub("mute", "--no-reply")
    specs.stub("slow", "--start-delay", "2500")
    return start_gateway(environment={"EG_KERNEL_LAUNCH_TIMEOUT": "3"})


def first_cell(gateway, connect, name, **options):
    model = gateway.start_kernel(name)
    assert model["execution_state"] == "starting"
    client = connect(gateway, model["id"], **options)
    return model["id"], client, client.run_cell("print 1", timeout=30)


def check_dead(gateway, kernel_id, cell, *words):
    assert cell.reply["status"] == "error" and cell.states[-1] == "idle"
    model = gateway.wait_for_state(kernel_id, "dead")
    for text in (cell.error["evalue"], model["reason"]):
        for word in words:
            assert word in text, text
    assert cell.error["traceback"], "what the notebook shows"


@pytest.mark.parametrize("name, words", [
    ("missing", ["/opt/nowhere/bin/python"]),
    ("missing-program", ["no-such-kernel-program"]),
    ("missing-module", ["no_such_kernel_module"]),
    ("crash", ["libhdf5.so.310", "3"]),
])
@pytest.mark.parametrize("agent", ["elara-tests", "Tornado/6.5.2"])
def test_first_cell_and_model_tell_the_true_reason(broken, connect, name, words, agent):
    kernel_id, _, cell = first_cell(broken, connect, name, user_agent=agent)
    check_dead(broken, kernel_id, cell, *words)


def test_kernel_that_never_answers_is_given_up_after_the_launch_timeout(broken, connect):
    kernel_id, _, cell = first_cell(broken, connect, "mute")
    check_dead(broken, kernel_id, cell, "The kernel did not answer within 3 s and was ended")


def test_request_may_ask_for_its_own_launch_timeout(broken, connect):
    kernel_id = broken.start_kernel("mute", env={"KERNEL_LAUNCH_TIMEOUT": "1"})["id"]
    cell = connect(broken, kernel_id).run_cell("print 1")
    check_dead(broken, kernel_id, cell, "The kernel did not answer within 1 s and was ended")


def test_every_further_request_is_answered_too(broken, connect):
    kernel_id, client, _ = first_cell(broken, connect, "missing")
    assert client.run_cell("print 2").reply["status"] == "error"
    assert client.kernel_info()["status"] == "ok", "the notebook's front end needs one"
    msg_id = client.send("complete_request", {"code": "a", "cursor_pos": 1})
    assert client.collect(msg_id, reply_type="complete_reply").reply["status"] == "error"


def test_late_client_gets_the_reason_too(broken, connect):
    kernel_id, client, _ = first_cell(broken, connect, "crash")
    client.close()
    cell = connect(broken, kernel_id, v1=True).run_cell("print 1")
    assert "libhdf5.so.310" in cell.error["evalue"]


def test_next_gateway_knows_the_reason_too(broken, connect):
    kernel_id, _, _ = first_cell(broken, connect, "crash")
    broken.kill()
    broken.start()
    cell = connect(broken, kernel_id).run_cell("print 1")
    check_dead(broken, kernel_id, cell, "libhdf5.so.310", "3")


def test_dead_kernel_stays_listed_until_it_is_deleted(broken, connect):
    kernel_id, _, _ = first_cell(broken, connect, "missing")
    assert kernel_id in [model["id"] for model in broken.get("/api/kernels").json()]
    assert broken.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert broken.get(f"/api/kernels/{kernel_id}").status_code == 404


def test_restart_tries_again_and_succeeds_once_the_cause_is_mended(broken, specs, connect, tmp_path):
    program = tmp_path / "late-kernel"
    specs.add("late", [str(program), "-f", "{connection_file}"])
    wait_until(lambda: broken.get("/api/kernelspecs/late").status_code == 200, what="the new kernelspec")
    kernel_id, client, cell = first_cell(broken, connect, "late")
    check_dead(broken, kernel_id, cell, str(program))
    answer = broken.post(f"/api/kernels/{kernel_id}/restart")
    check_error(answer, 500, str(program))
    assert "Retry-After" not in answer.headers, "a person has to do something first"
    assert client.run_cell("print 1").reply["status"] == "error", "still missing"
    program.symlink_to(specs.stub_program)
    assert broken.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print mended").text() == "mended\n"
    assert broken.model(kernel_id)["id"] == kernel_id and "reason" not in broken.model(kernel_id)


def test_cell_run_while_starting_shows_the_stage_and_is_then_run(broken, connect):
    kernel_id = broken.start_kernel("slow")["id"]
    client = connect(broken, kernel_id)
    cell = client.run_cell("print 1\nresult ready", timeout=20)
    assert cell.text() == "1\n" and cell.reply["status"] == "ok"
    shown = cell.of_type("display_data", "update_display_data")
    assert shown, "the wait was explained"
    types = [m["header"]["msg_type"] for m in cell.messages]
    assert "clear_output" in types and types.index("clear_output") < types.index("stream"), "the stage makes way"
    assert types.count("status") >= 2 and cell.states[-1] == "idle"
    quick = client.run_cell("print 2")
    assert not quick.of_type("display_data", "clear_output")


def test_who_connects_while_a_kernel_starts_is_told_so_first(broken, connect):
    kernel_id = broken.start_kernel("slow")["id"]
    for session in ("first", "second", None):
        message = connect(broken, kernel_id, session_id=session).receive()
        assert message["header"]["msg_type"] == "status" and message["parent_header"] == {}
        assert message["content"] == {"execution_state": "starting"}
    broken.wait_for_state(kernel_id, "idle")
    seen = []
    connect(broken, kernel_id, session_id="third").run_cell("print 1", on_message=seen.append)
    assert seen and all(message["parent_header"] for message in seen), "only the kernel speaks"


def test_cells_run_while_starting_keep_their_order(broken, connect):
    kernel_id = broken.start_kernel("slow")["id"]
    client = connect(broken, kernel_id)
    texts = []

    def note(message):
        if message["header"]["msg_type"] == "stream":
            texts.append(message["content"]["text"])

    client.collect_all([client.send_execute(f"print {i}") for i in range(5)], on_message=note)
    assert texts == [f"{i}\n" for i in range(5)]


def test_kernel_info_is_left_to_the_real_kernel(broken, connect):
    kernel_id = broken.start_kernel("slow")["id"]
    assert connect(broken, kernel_id).kernel_info()["implementation"] == "stub"


def test_delete_while_starting_leaves_nothing(broken):
    kernel_id = broken.start_kernel("mute")["id"]
    assert broken.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not broken.kernel_pids(kernel_id) and not broken.launcher_pids(kernel_id), what="nothing left")
    assert not broken.kernel_directory(kernel_id).exists()


def test_many_failures_leave_no_process(broken):
    kernels = [broken.start_kernel("crash")["id"] for _ in range(10)]
    for kernel_id in kernels:
        broken.wait_for_state(kernel_id, "dead", timeout=30)
        assert not broken.kernel_pids(kernel_id)
        assert broken.delete(f"/api/kernels/{kernel_id}").status_code == 204


@pytest.mark.parametrize("directory", ["/nowhere/at/all", "relative", "", "/etc/passwd"])
def test_working_directory_that_is_none_gives_the_root_directory(broken, connect, directory):
    kernel_id = broken.start_kernel("stub", env={"KERNEL_WORKING_DIR": directory})["id"]
    assert connect(broken, kernel_id).run_cell("cwd").text() == f"{broken.home}\n"
