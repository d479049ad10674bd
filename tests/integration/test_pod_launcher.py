"""The launcher as the first process of a container, in images that know nothing of it (docs/link-protocol.md, "In a pod")."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
import zmq
from support.container import Notebook, Pod, check_machine, copy_with_libraries, wait_for_log
from support.link import EXIT, STATUS, WELCOME
from support.processes import wait_until


def folders(image):
    for name in ("proc", "dev", "tmp", "opt"):
        (image / name).mkdir(parents=True, exist_ok=True)
    return image


@pytest.fixture
def open_path():
    """A folder that every user may enter. pytest's own are for their owner, and another run closes them again."""
    with tempfile.TemporaryDirectory(prefix="elara-pod-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def make_pod(build, open_path):
    """make_pod(image, user=...); its launch.json is still to be written."""
    check_machine()
    pods = []

    def make(image, user=1000):
        folder = open_path / f"pod-{len(pods)}"
        folder.mkdir()
        pods.append(Pod(build, folder, image, user))
        pods[-1].install()
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()


@pytest.fixture
def glibc_image():
    """This machine's own files."""
    return "/"


@pytest.fixture
def musl_image(tmp_path):
    """musl, a program that needs it, and nothing of glibc's."""
    if shutil.which("musl-gcc") is None:
        pytest.skip("machine limit: musl-gcc is not installed (Debian's musl-tools)")
    image = folders(tmp_path / "musl")
    (image / "lib").mkdir()
    (image / "bin").mkdir()
    shutil.copy("/lib/x86_64-linux-musl/libc.so", image / "lib/libc.so")
    (image / "lib/ld-musl-x86_64.so.1").symlink_to("libc.so")
    source = tmp_path / "start.c"
    # A kernel's front, as a shell script would be one: linked with the image's own C library.
    source.write_text("#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
                      'int main(int argc, char **argv) { if (argc < 2) return puts("musl") < 0;\n'
                      'fprintf(stderr, "started by musl\\n"); unsetenv("LD_PRELOAD"); execv(argv[1], argv + 1); return 9; }\n')
    subprocess.run(["musl-gcc", "-o", image / "bin/start", source], check=True)
    subprocess.run(["musl-gcc", "-shared", "-fPIC", "-o", image / "lib/preload.so", "-x", "c", "-"], check=True, text=True,
                   input="#include <stdio.h>\n__attribute__((constructor)) static void begin(void) "
                         '{ fprintf(stderr, "in by preload\\n"); }\n')
    program = subprocess.run(["readelf", "-l", image / "bin/start"], capture_output=True, text=True, check=True).stdout
    assert "ld-musl" in program
    return image


@pytest.fixture
def stub_pod(make_pod, glibc_image, build):
    pod = make_pod(glibc_image)
    shutil.copy(build / "tests/stub_kernel", pod.elara)
    pod.launch(["/opt/elara/stub_kernel", "-f", "{connection_file}"])
    return pod


def test_image_of_musl(make_pod, musl_image, build):
    pod = make_pod(musl_image)
    loader, option, library, program = copy_with_libraries(build / "tests/stub_kernel", pod.elara / "stub")
    pod.launch(["start", f"/opt/elara/stub/{loader}", option, "/opt/elara/stub", f"/opt/elara/stub/{program}", "-f",
                "{connection_file}"], env={"PATH": "/bin"}, transport="ipc")
    assert not list(musl_image.rglob("*ld-linux*"))
    traps = pod.elara / "traps"  # what the image's own programs are to load is not for the launcher
    traps.mkdir()
    for name in ("libzmq.so.5", "libc.so.6"):
        (traps / name).write_text("no library")
    container = pod.start(environment={"LD_LIBRARY_PATH": "/opt/elara/traps", "LD_PRELOAD": "/lib/preload.so"})
    with pod.link() as link:
        notebook = Notebook(link)
        assert notebook.wait_ready()[0]["implementation"] == "stub"
        assert notebook.run("print from musl") == "from musl\n"
        logs = link.command("logs")["text"]
        assert "started by musl" in logs and "in by preload" in logs
        assert "in by preload" not in container.log()
        container.signal(signal.SIGTERM)
        assert container.wait() == 0


def test_real_kernel_in_a_read_only_image(make_pod, glibc_image):
    if subprocess.run(["/usr/bin/python3", "-c", "import ipykernel"], capture_output=True).returncode != 0:
        pytest.skip("machine limit: this machine's own Python has no ipykernel (Debian's python3-ipykernel)")
    pod = make_pod(glibc_image)
    # The image has python3 only, and the user no home.
    pod.launch(["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], cwd=["/no/such/notebooks", "~", "/usr"],
               env={"FROM_GATEWAY": "1", "PATH": "/usr/bin"})
    pod.start(environment={"LD_LIBRARY_PATH": "/opt/elara/stub", "ELARA_OWN": "1"})
    with pod.link(timeout=60) as link:
        notebook = Notebook(link)
        notebook.wait_ready()
        said = notebook.run("import os, sys, json\nprint(json.dumps([os.getcwd(), os.getuid(), sys.executable, "
                            "dict(os.environ), open('/proc/self/oom_score_adj').read(), os.getppid()]))")
        cwd, uid, executable, environment, score, parent = json.loads(said)
        assert (cwd, uid, executable, parent) == ("/usr", 1000, "/usr/bin/python3", 1)
        assert score.strip() == "1000"
        assert environment["FROM_IMAGE"] == environment["FROM_GATEWAY"] == "1"
        assert environment["LD_LIBRARY_PATH"] == "/opt/elara/stub" and environment["PATH"] == "/usr/bin"
        assert "ELARA_OWN" not in environment
        # What the same user can learn of the launcher: nothing that is in its memory or its environment.
        looks = notebook.run("for name in ('mem', 'environ', 'maps', 'fd'):\n  try: print(name, len(os.listdir("
                             "f'/proc/1/{name}') if name == 'fd' else open(f'/proc/1/{name}', 'rb').read(1)))\n"
                             "  except OSError as error: print(name, type(error).__name__)")
        assert looks.split() == ["mem", "PermissionError", "environ", "PermissionError", "maps", "PermissionError", "fd",
                                 "PermissionError"]


def test_orphans_are_reaped(make_pod, glibc_image, build):
    pod = make_pod(glibc_image)
    shutil.copy(build / "tests/stub_kernel", pod.elara)
    pod.launch(["/bin/sh", "-c", "((sleep 0.1; exit 3) &); exec /opt/elara/stub_kernel -f {connection_file}"])
    container = pod.start()
    with pod.link() as link:
        Notebook(link).wait_ready()
        wait_until(lambda: set(container.processes().values()) == {"elara-launcher", "stub_kernel"}, what="no zombies")


def refused(pod, **options):
    """Whether nothing comes back: no WELCOME, no RESET."""
    events = []
    with pod.link(**options) as link:
        monitor = link.socket.get_monitor_socket()
        link.send(1, {"version": 1, "gateway": "g", "kernel_id": pod.kernel_id})
        while True:
            assert monitor.poll(20000), "nothing happens to the connection"
            events.append(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
            if events[-1] in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_DISCONNECTED):
                break
        assert not link.socket.poll(0)
        assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in events
        link.socket.disable_monitor()
    return True


def test_only_the_gateways_key_enters(stub_pod):
    container = stub_pod.start()
    with stub_pod.link() as link, stub_pod.link() as replica:
        notebook = Notebook(link)
        notebook.wait_ready()
        public, secret = zmq.curve_keypair()
        assert refused(stub_pod, public=public, secret=secret)
        assert refused(stub_pod, server=None)
        assert refused(stub_pod, server=public)
        # A port scanner, a web browser, somebody who says nothing.
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f", b"\xff" * 200):
            with socket.create_connection(("127.0.0.1", stub_pod.port)) as stranger:
                stranger.sendall(words)
        other = Notebook(replica, session="another")
        assert notebook.run("print one") == "one\n"
        assert other.run("print two") == "two\n"
    assert container.log().count("is refused: its key is not that of the gateways") == 1
    secret = (stub_pod.place / "link.key").read_bytes().decode()
    assert secret not in container.log()
    for path in stub_pod.directory.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_who_says_nothing_is_let_go(stub_pod):
    stub_pod.start()
    with stub_pod.link() as link:
        Notebook(link).wait_ready()
    with socket.create_connection(("127.0.0.1", stub_pod.port)) as stranger:
        stranger.settimeout(60)
        while stranger.recv(100):  # libzmq's greeting, and then the end
            pass


@pytest.mark.parametrize("listen", ["*", "[::]", "0.0.0.0"])
def test_both_kinds_of_addresses(stub_pod, listen):
    stub_pod.start(listen=f"tcp://{listen}:{stub_pod.port}")
    with stub_pod.link() as link:
        assert link.hello().kind == WELCOME
    if listen == "0.0.0.0":
        return
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"machine limit: no IPv6: {error}")
    with stub_pod.link(endpoint=f"tcp://[::1]:{stub_pod.port}") as link:
        assert link.hello().kind == WELCOME


def test_end_of_the_pod(stub_pod):
    """SIGTERM: whoever is there is told, and a container that is started all the same has nothing to do."""
    container = stub_pod.start()
    with stub_pod.link() as link:
        Notebook(link).wait_ready()
        container.signal(signal.SIGTERM)
        report = link.expect(EXIT).json()
        assert "The kernel's pod was told to end" in report["reason"] and report["restarting"] is False
        assert container.wait() == 0
    assert stub_pod.record()["phase"] == "dead"
    again = stub_pod.start()
    assert again.wait() == 0
    assert "nothing to go on with" in again.log()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT, signal.SIGRTMIN + 3])
def test_other_signals_that_images_name(stub_pod, signum):
    container = stub_pod.start()
    with stub_pod.link() as link:
        Notebook(link).wait_ready()
        container.signal(signum)
        assert "The kernel's pod was told to end" in link.expect(EXIT).json()["reason"]
        assert container.wait() == 0


def test_shutdown_by_the_gateway(stub_pod):
    container = stub_pod.start()
    with stub_pod.link() as link:
        Notebook(link).wait_ready()
        assert link.command("shutdown", now=False, reason=None)["ok"]
        assert container.wait() == 0
    assert stub_pod.start().wait() == 0


def test_death_of_the_kernel_alone(stub_pod):
    """It is started again in place: the container goes on."""
    container = stub_pod.start()
    with stub_pod.link() as link:
        notebook = Notebook(link)
        notebook.wait_ready()
        first = container.pid_of("stub_kernel")
        os.kill(first, signal.SIGKILL)
        report = link.expect(EXIT).json()
        assert report["restarting"] is True and report["signal"] == 9
        link.expect(STATUS, where=lambda frame: frame.json()["phase"] == "ready")
        assert notebook.run("print again") == "again\n"
        assert container.pid_of("stub_kernel") != first
        assert container.process.poll() is None


def test_death_of_the_container(stub_pod):
    """As when its memory runs out on cgroup v2: all processes at once, and the container is started again on the same
    volume. The notebook keeps its session, and what was said while it was away is there."""
    container = stub_pod.start()
    with stub_pod.link() as link:
        notebook = Notebook(link)
        assert not notebook.resumed
        notebook.wait_ready()
        assert notebook.run("print before") == "before\n"
    numbering = stub_pod.record()["numbering"]
    container.kill()
    assert container.process.returncode != 0
    again = stub_pod.start()
    with stub_pod.link() as link:
        welcome = link.hello().json()
        assert welcome["record"]["numbering"] == numbering  # the restart counts when a gateway has said why, or 3 s later
        notebook = Notebook(link)
        assert notebook.resumed
        messages = link.command("journal", since=0)["messages"]
        assert len(messages) > 4
        notebook.wait_ready()
        assert notebook.run("print after") == "after\n"
        assert link.command("record_get")["record"]["restarts"] == 1
    log = again.log()
    assert "The kernel's container ended and was started again in its pod" in log
    assert "want of memory at that time" not in log  # nobody knows: the counters are new ones


def test_containers_that_cannot_work_say_why(stub_pod):
    (stub_pod.place / "..data/gateway.pub").write_text("no key")
    container = stub_pod.start()
    assert container.wait() == 1
    assert "gateway.pub: a CURVE key in Z85 has 40 characters" in container.log()
    assert "/opt/secret/gateway.pub" in stub_pod.termination_log()


def test_port_that_is_taken(stub_pod):
    with socket.create_server(("127.0.0.1", stub_pod.port)):
        container = stub_pod.start()
        assert container.wait() == 1
        wait_for_log(container, "cannot bind tcp://127.0.0.1")


def test_root_and_unknown_users(make_pod, glibc_image, build):
    for user in (0, 123456):
        pod = make_pod(glibc_image, user)
        shutil.copy(build / "tests/stub_kernel", pod.elara)
        pod.launch(["/opt/elara/stub_kernel", "-f", "{connection_file}"])
        container = pod.start()
        with pod.link() as link:
            Notebook(link).wait_ready()
            container.signal(signal.SIGTERM)
            assert container.wait() == 0


def test_installation_in_an_image(build, open_path):
    """What `cmake --install` puts into an image is what its init container copies, as any user."""
    done = subprocess.run(["cmake", "--install", build, "--prefix", open_path / "usr"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    volume = open_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    command = [open_path / "usr/bin/elara-launcher", "--install", volume]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid", "123456", "--regid", "123456", "--clear-groups", *command]
    for _ in range(2):
        subprocess.run(command, check=True)
    runtime = build / "pod-runtime"
    expected = {path.relative_to(runtime): path.read_bytes() for path in runtime.rglob("*") if path.is_file()}
    assert {path.relative_to(volume): path.read_bytes() for path in volume.rglob("*") if path.is_file()} == expected
    program = subprocess.run(["readelf", "-ld", volume / "lib/elara-launcher"], capture_output=True, text=True).stdout
    assert "interpreter: /opt/elara/lib/ld-linux" in program
    assert "(RPATH)" in program and "(RUNPATH)" not in program and "[/opt/elara/lib]" in program
    assert sum(len(content) for content in expected.values()) < 100 << 20


def test_no_port_without_keys(build, tmp_path):
    """Neither is it possible to ask for."""
    for flags in (["--listen", "tcp://127.0.0.1:1"], ["--place", str(tmp_path)], ["--install"], []):
        done = subprocess.run([build / "elara-launcher", "--directory", tmp_path / "kernel", *flags] if flags else
                              [build / "elara-launcher"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "--listen tcp://" in done.stderr
