"""Local kernels as accounts of the machine that have their owners' names (run-as-owner): who they are, and what they reach."""
import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.client import Client
from support.notebook_server import Server
from support.processes import is_alive, processes_mentioning, wait_until

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="machine limit: only root starts processes as other users"),
              pytest.mark.skipif(not (shutil.which("useradd") and shutil.which("setpriv")),
                                 reason="machine limit: no useradd to make accounts with, or no setpriv")]

NAMES = {name: f"elara{os.getpid()}{name[0]}" for name in ("alice", "bob")}
SHARED = f"elara{os.getpid()}s"  # a group of alice's
IPYKERNEL = ("IPython", "asttokens", "comm", "dateutil", "decorator.py", "executing", "ipykernel", "ipykernel_launcher.py", "jedi",
             "jupyter_client", "jupyter_core", "matplotlib_inline", "nest_asyncio.py", "packaging", "parso", "pexpect", "platformdirs",
             "prompt_toolkit", "psutil", "ptyprocess", "pure_eval", "pygments", "pyzmq.libs", "six.py", "stack_data", "tornado",
             "traitlets", "typing_extensions.py", "wcwidth", "zmq")


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def link(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def public():
    """A short path that every user may enter; tests' own directories are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="elara-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def accounts(public):
    """{"alice": her account's name, ...}; alice is in a second group, too."""
    try:
        run("groupadd", SHARED)
        for name, account in NAMES.items():
            run("useradd", "--create-home", "--home-dir", str(public / name), "--shell", "/bin/bash", "--user-group", account)
        run("usermod", "--append", "--groups", SHARED, NAMES["alice"])
        yield NAMES
    finally:
        for command in [["userdel", "--force", account] for account in NAMES.values()] + [["groupdel", SHARED]]:
            subprocess.run(command, capture_output=True, check=False)


@pytest.fixture(scope="module")
def packages(public):
    """ipykernel where every user can read it: the tests' environment may be in root's home."""
    installed = Path(pytest.__file__).parents[1]
    for name in IPYKERNEL:
        source = installed / name
        if source.is_dir():
            shutil.copytree(source, public / "packages" / name, copy_function=link)
        elif source.exists():
            (public / "packages").mkdir(exist_ok=True)
            link(source, public / "packages" / name)
    return public / "packages"


@pytest.fixture
def homes(public):
    path = Path(tempfile.mkdtemp(dir=public))
    path.chmod(0o711)
    return path


@pytest.fixture
def start(start_gateway, specs, accounts, packages, public, homes, tmp_path):
    """A gateway with run-as-owner, where alice and bob have tokens of their names."""
    stub = public / "stub_kernel"
    if not stub.exists():
        shutil.copy2(specs.stub_program, stub)
    specs.add("stub", [str(stub), "-f", "{connection_file}"])
    specs.add("python3", [os.path.realpath(sys.executable), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
              env={"PYTHONPATH": str(packages)})
    tokens = tmp_path / "tokens"

    def start(*flags, users=(), **options):
        names = [*accounts.values(), *users]
        tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
        tokens.chmod(0o600)
        gateway = start_gateway("--run-as-owner", "true", "--auth-token-file", str(tokens), *flags, home=homes, **options)
        gateway.token = accounts["alice"]
        return gateway

    return start


def as_user(name):
    return {"Authorization": f"token {name}"}


def place_of(gateway, kernel_id):
    return gateway.runtime / "users" / kernel_id


def kernel_pid(gateway, kernel_id):
    return processes_mentioning(str(place_of(gateway, kernel_id) / "connection"))[0]


def ids_of(pid, name):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name + ":"))
    return line.split()[1:]


ME = """
import getpass, grp, json, os
variables = {name: os.environ.get(name) for name in ("HOME", "USER", "LOGNAME", "SHELL", "KERNEL_USERNAME", "TMPDIR")}
print(json.dumps([os.getuid(), os.getgid(), sorted(os.getgroups()), os.getcwd(), getpass.getuser(), variables]))
"""


def test_a_kernel_is_its_owner(start, connect, accounts, public):
    import grp
    import pwd
    gateway = start(environment={"TMPDIR": "/root/tmp"}, prefix=("setpriv", "--inh-caps=+net_raw"))
    alice = pwd.getpwnam(accounts["alice"])
    home = public / "alice"
    run("install", "--directory", "--owner", alice.pw_name, str(home / "project"))
    kernel_id = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": str(home / "project")})["id"]
    client = connect(gateway, kernel_id, timeout=60)
    uid, gid, groups, cwd, user, variables = json.loads(client.run_cell(ME).text())
    assert (uid, gid, user) == (alice.pw_uid, alice.pw_gid, alice.pw_name)
    assert groups == sorted([alice.pw_gid, grp.getgrnam(SHARED).gr_gid]), "her own, none of the gateway's"
    assert cwd == str(home / "project")
    assert variables == {"HOME": str(home), "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "KERNEL_USERNAME": user, "TMPDIR": None}
    pid = kernel_pid(gateway, kernel_id)
    assert ids_of(pid, "Uid") == [str(uid)] * 4 and ids_of(pid, "Gid") == [str(gid)] * 4
    assert [ids_of(pid, name) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [["0" * 16]] * 4
    client.run_cell("open('mine', 'w')")
    assert (home / "project" / "mine").stat().st_uid == uid
    launcher = gateway.launcher_pids(kernel_id)[0]
    assert ids_of(launcher, "Uid") == ["0"] * 4
    threads = {int(task.name): ids_of(f"{launcher}/task/{task.name}", "Uid") for task in Path(f"/proc/{launcher}/task").iterdir()}
    assert len(threads) > 1
    assert {tuple(ids) for task, ids in threads.items() if task != launcher} == {("0", "0", "0", str(uid))}, \
        "the threads that connect to the kernel's sockets reach no files but hers"


def test_a_kernel_may_open_its_own_output(start, specs, public):
    specs.add("loud", ["/bin/sh", "-c", 'echo said >/dev/stderr && exec "$0" -f "$1"', str(public / "stub_kernel"), "{connection_file}"])
    gateway = start()
    kernel_id = gateway.start_kernel("loud")["id"]
    gateway.wait_for_state(kernel_id, "idle")
    assert "said" in (gateway.kernel_directory(kernel_id) / "kernel.log").read_text()


def test_its_home_can_be_where_homes_are(start, connect, accounts, public):
    import pwd
    gateway = start("--home-directory", str(public / "srv"), "--home-user-names", "raw")
    (public / "srv").mkdir()
    home = public / "srv" / accounts["alice"]
    kernel_id = gateway.start_kernel("python3")["id"]
    _, _, _, cwd, _, variables = json.loads(connect(gateway, kernel_id, timeout=60).run_cell(ME).text())
    assert cwd == variables["HOME"] == str(home)
    assert home.stat().st_uid == pwd.getpwnam(accounts["alice"]).pw_uid and home.stat().st_mode & 0o777 == 0o700


def test_a_cell_of_a_notebook_server_shows_whose_it_is(start, accounts, tmp_path):
    import pwd
    gateway = start()
    server = Server(gateway, tmp_path, JUPYTER_GATEWAY_AUTH_TOKEN=accounts["bob"])
    try:
        session = server.request("POST", "/api/sessions", json={"path": "x.ipynb", "type": "notebook", "name": "",
                                                                "kernel": {"name": "python3"}}).json()
        with Client(server, session["kernel"]["id"]) as client:
            uid = client.run_cell("import os; print(os.getuid())", timeout=60).text()
        assert int(uid) == pwd.getpwnam(accounts["bob"]).pw_uid
    finally:
        server.kill()


# Everything that one user's kernel may try against another's; prints what worked.
ATTACK = """
import ctypes, json, os, signal, socket
reached = []
def attempt(name, do):
    try:
        do()
        reached.append(name)
    except OSError:
        pass
def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, 0, 0) < 0:  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "ptrace")
for pid in {pids}:
    attempt(f"kill {{pid}}", lambda: os.kill(pid, 0))
    attempt(f"ptrace {{pid}}", lambda: trace(pid))
    for name in ("mem", "environ", "maps"):
        attempt(f"/proc/{{pid}}/{{name}}", lambda: open(f"/proc/{{pid}}/{{name}}", "rb").read(1))
    for name in ("cwd", "root", "fd"):
        attempt(f"/proc/{{pid}}/{{name}}", lambda: os.listdir(f"/proc/{{pid}}/{{name}}"))
for path in {files}:
    attempt(f"read {{path}}", lambda: open(path, "rb").read(1))
    attempt(f"write {{path}}", lambda: open(path, "r+b"))
for path in {sockets}:
    attempt(f"connect {{path}}", lambda: connect(path))
for path in {directories}:
    attempt(f"list {{path}}", lambda: os.listdir(path))
    attempt(f"make in {{path}}", lambda: open(path + "/x", "w"))
print(json.dumps(reached))
"""


def test_a_kernel_reaches_nothing_of_another_user_nor_of_the_gateway(start, connect, accounts):
    """Each attempt is one that works for who may: bob's own kernel proves what of it is bob's."""
    gateway = start()
    alices = gateway.start_kernel("python3")["id"]
    gateway.token = accounts["bob"]
    bobs = gateway.start_kernel("stub")["id"]
    gateway.wait_for_state(bobs, "idle")
    attacker = gateway.start_kernel("python3")["id"]  # bob's second kernel, against bob's first
    place, directory = place_of(gateway, bobs), gateway.kernel_directory(bobs)
    own = [str(path) for path in sorted(place.iterdir())]
    kernel, launcher = kernel_pid(gateway, bobs), gateway.launcher_pids(bobs)[0]
    own_sockets = [path for path in own if stat.S_ISSOCK(os.stat(path).st_mode)]
    assert len(own_sockets) == 5 and str(place / "connection.json") in own
    closed = [str(path) for path in directory.rglob("*") if path.is_file()]
    assert len(closed) >= 4, "launch.json, record.json, the journal, logs"
    attack = ATTACK.format(pids=[kernel, launcher, gateway.process.pid, gateway.spawner_pid()],
                           files=[path for path in own if path not in own_sockets] + closed,
                           sockets=own_sockets + [str(directory / "link")],
                           directories=[str(path) for path in (place, directory, directory / "journal", gateway.runtime,
                                                               gateway.runtime / "kernels", gateway.runtime / "users")])
    reached = json.loads(connect(gateway, attacker, timeout=60).run_cell(attack).text())
    allowed = {f"read {place}/connection.json", f"write {place}/connection.json", f"list {place}", f"make in {place}", f"kill {kernel}",
               *(f"connect {path}" for path in own_sockets)}
    assert allowed <= set(reached)
    assert all(str(kernel) in name for name in set(reached) - allowed), "as one's own kernel may"
    gateway.token = accounts["alice"]
    assert json.loads(connect(gateway, alices, timeout=60).run_cell(attack).text()) == []
    gateway.token = accounts["bob"]
    assert gateway.get(f"/api/kernels/{bobs}").json()["execution_state"] == "idle"
    assert gateway.get(f"/api/kernels/{alices}").status_code == 404


@pytest.mark.parametrize("spec", ["stub", "python3"])
def test_it_is_interrupted_restarted_taken_over_and_ended(start, connect, spec):
    gateway = start()
    on, wait = ("print('on')", "import time\nprint('go')\nwhile True: time.sleep(0.1)") if spec == "python3" else ("print on", "sleep 30000")
    kernel_id = gateway.start_kernel(spec)["id"]
    client = connect(gateway, kernel_id, timeout=60)
    assert client.run_cell(on).text() == "on\n"
    msg_id = client.send_execute(wait)
    client.receive_until(lambda m: m["header"]["msg_type"] == ("stream" if spec == "python3" else "execute_input"))
    assert gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert client.collect(msg_id).error["ename"] == "KeyboardInterrupt"
    first = kernel_pid(gateway, kernel_id)
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell(on).text() == "on\n"
    second = kernel_pid(gateway, kernel_id)
    assert not is_alive(first) and ids_of(second, "Uid") == [str(place_of(gateway, kernel_id).stat().st_uid)] * 4
    gateway.kill()
    gateway.start()
    assert connect(gateway, kernel_id, timeout=60).run_cell(on).text() == "on\n"
    os.kill(gateway.launcher_pids(kernel_id)[0], signal.SIGKILL)  # the kernel ends with it, and another one goes on
    wait_until(lambda: not is_alive(second), 10, "the kernel's end with its launcher")
    assert connect(gateway, kernel_id, timeout=60).run_cell(on).text() == "on\n"
    third = kernel_pid(gateway, kernel_id)
    assert ids_of(third, "Uid") == ids_of(third, "Uid")[:1] * 4 != ["0"] * 4
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not is_alive(third) and not place_of(gateway, kernel_id).exists()
               and not gateway.kernel_directory(kernel_id).exists(), 10, "nothing of it is left")


def test_a_kernel_is_culled(start):
    gateway = start("--cull-idle-timeout", "1s", "--cull-interval", "1s")
    kernel_id = gateway.start_kernel("stub")["id"]
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").status_code == 404, 20, "the cull")
    wait_until(lambda: not place_of(gateway, kernel_id).exists(), 10, "its place is gone")


def test_what_is_left_of_a_kernel_whose_directory_is_gone_goes_too(start):
    gateway = start()
    kernel_id = gateway.start_kernel("stub")["id"]
    gateway.wait_for_state(kernel_id, "idle")
    gateway.kill()
    launcher, kernel = gateway.launcher_pids(kernel_id)[0], kernel_pid(gateway, kernel_id)
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: not is_alive(launcher) and not is_alive(kernel), 10, "both are gone")
    shutil.rmtree(gateway.kernel_directory(kernel_id))
    assert place_of(gateway, kernel_id).exists()
    gateway.start()
    assert not place_of(gateway, kernel_id).exists()


def test_of_a_launcher_that_hangs_nothing_is_left(start, specs, public):
    """Nor of what its kernel has started: the gateway ends them all."""
    specs.add("family", ["/bin/sh", "-c", 'sleep 1000 & exec "$0" -f "$1"', str(public / "stub_kernel"), "{connection_file}"])
    gateway = start("--shutdown-wait", "0s")
    kernel_id = gateway.start_kernel("family")["id"]
    gateway.wait_for_state(kernel_id, "idle")
    kernel = kernel_pid(gateway, kernel_id)
    family = [kernel, *map(int, Path(f"/proc/{kernel}/task/{kernel}/children").read_text().split())]
    assert len(family) == 2
    os.kill(gateway.launcher_pids(kernel_id)[0], signal.SIGSTOP)
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not any(map(is_alive, family)) and not place_of(gateway, kernel_id).exists(), 20, "nothing of it is left")


def test_no_link_of_a_kernel_leads_its_launcher_astray(start, connect, accounts, public):
    """alice puts links where her next kernel's connection file and sockets will be."""
    gateway = start()
    target = public / f"roots-{accounts['alice']}"
    target.write_text("root's")
    target.chmod(0o600)
    gateway.token = accounts["bob"]
    bobs = gateway.start_kernel("stub")["id"]
    gateway.wait_for_state(bobs, "idle")
    gateway.token = accounts["alice"]
    kernel_id = gateway.start_kernel("python3")["id"]
    place = place_of(gateway, kernel_id)
    connect(gateway, kernel_id, timeout=60).run_cell(
        f"import os\nfor name in os.listdir('{place}'): os.unlink('{place}/' + name)\n"
        f"os.symlink('{target}', '{place}/connection.json')\nos.mkdir('{place}/more')\n"
        f"os.symlink('{place_of(gateway, bobs)}/k-2', '{place}/k-2')\nprint(1)")
    os.kill(gateway.launcher_pids(kernel_id)[0], signal.SIGKILL)
    wait_until(lambda: not (place / "connection.json").is_symlink(), 20, "the next kernel's connection file")
    gateway.wait_for_state(kernel_id, "idle", timeout=30)
    assert (place / "connection.json").stat().st_uid == place.stat().st_uid != 0
    assert target.read_text() == "root's" and target.stat().st_uid == 0
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not gateway.kernel_directory(kernel_id).exists() and not place.exists(), 10, "its places are gone")
    assert target.exists() and len(list(place_of(gateway, bobs).iterdir())) == 6, "nothing of bob's went with it"


REFUSED = {
    "nobody-here": ("no account of that name", "administrator"),
    "bin": ("below run-as-min-uid",),
    "toor": ("root's",),
    "carl": ("prohibited", "prohibited-uids"),
    "dora": ("above the policy's", "the policy"),
}


@contextlib.contextmanager
def account_of(name, uid):
    """An account of this name in /etc/passwd, by useradd."""
    run("useradd", "--no-create-home", "--no-user-group", "--gid", "65534", "--non-unique", "--uid", str(uid), name)
    try:
        yield
    finally:
        subprocess.run(["userdel", "--force", name], capture_output=True, check=False)


@pytest.mark.parametrize("kind", REFUSED)
def test_an_account_that_may_not_be_is_refused_in_the_cell(start, connect, tmp_path, kind):
    name = kind if kind in ("nobody-here", "bin") else f"elara{os.getpid()}{kind}"
    made = {"toor": 0, "carl": 61234, "dora": 61235}
    flags = ["--prohibited-uids", "61234"]
    if kind == "dora":
        (tmp_path / "policy.yaml").write_text("uid: {to: 60000}\n")
        flags = ["--policy", str(tmp_path / "policy.yaml")]
    with account_of(name, made[kind]) if kind in made else contextlib.nullcontext():
        gateway = start(*flags, users=[name])
        gateway.token = name
        kernel_id = gateway.start_kernel("stub")["id"]
        message = gateway.wait_for_state(kernel_id, "dead")["message"]
        assert f"KERNEL_USERNAME {name}" in message and all(words in message for words in REFUSED[kind]), message
        assert connect(gateway, kernel_id).run_cell("print 1").error["evalue"] == message
        assert not place_of(gateway, kernel_id).exists()


def test_nobody_in_particular_is_no_account(start_gateway, accounts, homes):
    gateway = start_gateway("--run-as-owner", "true", token="shared", home=homes)
    answer = gateway.post("/api/kernels", json={"name": "stub", "env": {"KERNEL_USERNAME": accounts["alice"]}})
    assert answer.status_code == 403 and "KERNEL_USERNAME" in answer.text and "home-trust-claimed-names" in answer.text


def test_enterprise_gateways_setting_and_names_that_are_claimed(start_gateway, start, connect, accounts, homes):
    start_gateway_as_jeg = {"EG_IMPERSONATION_ENABLED": "True", "ELARA_HOME_TRUST_CLAIMED_NAMES": "true"}
    gateway = start_gateway(environment=start_gateway_as_jeg, token="shared", home=homes)
    for claim, status in (("../alice", 403), ("a:b", 403), ("root", 403)):
        answer = gateway.post("/api/kernels", json={"name": "stub", "env": {"KERNEL_USERNAME": claim}})
        assert answer.status_code == status, answer.text
    kernel_id = gateway.start_kernel("python3", env={"KERNEL_USERNAME": accounts["bob"]})["id"]
    client = connect(gateway, kernel_id, timeout=60)
    assert client.run_cell("import getpass; print(getpass.getuser())").text() == accounts["bob"] + "\n"


# Says what became of the connection: of a launcher's own user it goes on after the greeting (SO_PEERCRED).
GREET = """
import zmq
from zmq.utils.monitor import recv_monitor_message
socket = zmq.Context().socket(zmq.DEALER)
monitor = socket.get_monitor_socket()
socket.connect({endpoint!r})
events = []
while not set(events) & {{"DISCONNECTED", "HANDSHAKE_SUCCEEDED"}} and monitor.poll(20000):
    events.append(zmq.Event(recv_monitor_message(monitor)["event"]).name)
print(events)
"""


def test_a_launcher_hears_nobody_but_its_own_user(start, connect):
    """Though all directories and the socket itself were open by mistake."""
    gateway = start()
    kernel_id, attacker = gateway.start_kernel("stub")["id"], gateway.start_kernel("python3")["id"]
    gateway.wait_for_state(kernel_id, "idle")
    link = gateway.kernel_directory(kernel_id) / "link"
    for path, mode in ((link.parent.parent, 0o755), (link.parent, 0o755), (link, 0o666)):
        path.chmod(mode)
    greet = GREET.format(endpoint=f"ipc://{link}")
    assert "HANDSHAKE_SUCCEEDED" in subprocess.run([sys.executable, "-c", greet], capture_output=True, text=True, check=True).stdout
    events = connect(gateway, attacker, timeout=60).run_cell(greet).text()
    assert "CONNECTED" in events and "DISCONNECTED" in events and "HANDSHAKE_SUCCEEDED" not in events


def refused(build, home, *flags, prefix=(), **environment):
    """What a gateway says that does not start."""
    ended = subprocess.run([*prefix, build / "elara-gateway", "--port", "0", "--runtime-dir", str(home / "run"), "--run-as-owner", "true",
                            *flags], capture_output=True, text=True, timeout=20, env={"PATH": os.environ["PATH"], **environment},
                           check=False)
    assert ended.returncode != 0
    return ended.stderr


def test_a_gateway_that_cannot_does_not_start(build, homes):
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    homes.chmod(0o777)
    said = refused(build, homes, prefix=nobody, ELARA_AUTH_TOKEN="x")
    assert "run-as-owner (EG_IMPERSONATION_ENABLED): only root" in said and "uid 65534" in said
    shutil.rmtree(homes / "run", ignore_errors=True)
    said = refused(build, homes, prefix=("setpriv", "--bounding-set=-setuid"), ELARA_AUTH_TOKEN="x")
    assert "run-as-owner" in said and "capability SETUID" in said
    said = refused(build, homes)
    assert "run-as-owner: without a token" in said and "--auth-token-file" in said


def test_a_runtime_directory_that_nobody_can_pass_is_refused(build, homes):
    (homes / "closed").mkdir(mode=0o700)
    said = refused(build, homes / "closed", ELARA_AUTH_TOKEN="x")
    assert f"{homes / 'closed'} is closed to other users" in said and "/run/elara" in said
