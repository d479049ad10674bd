"""One short life of a kernel with its launcher under valgrind: nothing is read before it was written, nothing beyond its end, nothing is lost."""
import pytest

from support.processes import processes_mentioning, wait_until

WRAPPER = """#!/bin/sh
exec valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect \\
    --child-silent-after-fork=yes --log-file={log}.%p {launcher} "$@"
"""


def is_sanitized(program):
    return any(name in program.read_bytes() for name in (b"__asan_init", b"__tsan_init"))


@pytest.fixture
def launcher(build, tmp_path):
    """The launcher, under valgrind. One with sanitizers looks by itself, and valgrind cannot run it."""
    program = build / "elara-launcher"
    if is_sanitized(program):
        return program
    wrapper = tmp_path / "elara-launcher"
    wrapper.write_text(WRAPPER.format(log=tmp_path / "valgrind", launcher=program))
    wrapper.chmod(0o755)
    return wrapper


def test_launcher_of_a_short_life(start_gateway, connect, launcher, tmp_path):
    gateway = start_gateway("--launcher", str(launcher))
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle", timeout=60)
    client = connect(gateway, kernel_id, session_id="user", timeout=60)
    assert client.run_cell("print hello").text() == "hello\n"
    client.run_cell("flood 500 3000")
    client.drop()
    back = connect(gateway, kernel_id, session_id="user", v1=True, timeout=60)
    assert back.run_cell("print back").text() == "back\n"
    for path in ("interrupt", "restart"):
        assert gateway.post(f"/api/kernels/{kernel_id}/{path}", timeout=60).ok
    assert back.run_cell("print again").text() == "again\n"
    back.send_execute("exit 7")
    back.receive_until(lambda m: m["header"]["msg_type"] == "status" and m["content"]["execution_state"] in ("restarting", "dead"))
    assert connect(gateway, kernel_id, timeout=60).run_cell("print anew").text() == "anew\n"
    assert gateway.delete(f"/api/kernels/{kernel_id}", timeout=60).status_code == 204
    wait_until(lambda: not processes_mentioning(kernel_id), 30, "the launcher's end, which is when it is asked what it has lost")
    if launcher.parent == tmp_path:
        logs = list(tmp_path.glob("valgrind.*"))
        assert logs and "".join(log.read_text() for log in logs) == ""
