"""Breaks everything between a notebook and its kernel at random moments, and looks whether the notebook shows exactly what it would have shown.

    tests/chaos/run --build build --rounds 1000

A round is one cell of a real ipykernel that counts, as text, as outputs of 1 MB or as displays with binary buffers, seen by a notebook that comes back with
its session; meanwhile one or two of the disturbances below happen. At its end the rendered cell must be that of an undisturbed run: no gap, no
doubled line, reply and idle seen."""
import argparse
import functools
import json
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
from support.handover import hand_over  # noqa: E402
from support.kernelspecs import Specs  # noqa: E402
from support.notebook_server import Server  # noqa: E402
from support.processes import Gateway  # noqa: E402
from support.proxy import Proxy  # noqa: E402

ROUND_TIMEOUT_S = 150

TEXT = """import time
for i in range({count}):
    print(i, flush=True)
    time.sleep(0.004)
"""
BIG = """import time
for i in range({count}):
    print(i, 'x' * 1000000, flush=True)
    time.sleep(0.05)
"""
BUFFERS = """import time
kernel = get_ipython().kernel
for i in range({count}):
    kernel.session.send(kernel.iopub_socket, 'display_data', {{'data': {{'text/plain': str(i)}}, 'metadata': {{}}, 'transient': {{}}}},
                        parent=kernel.get_parent(), ident=b'display_data', buffers=[bytes([i % 256]) * 500])
    time.sleep(0.004)
"""
PROGRESS = """import time
from IPython.display import display, clear_output
handle = display('0 %', display_id=True)
for i in range({count}):
    handle.update(str(i) + ' %')
    print(i, flush=True)
    if i % 50 == 49:
        clear_output(wait=True)
        handle = display(str(i) + ' %', display_id=True)
    time.sleep(0.004)
"""


def progress_outputs(count):
    kept = count - count % 50
    lines = "".join(f"{i}\n" for i in range(kept, count))
    return [["display_data", repr(f"{count - 1} %")]] + ([["stdout", lines]] if lines else [])


CELLS = {  # code, how many, what a notebook shows at the end
    "text": (TEXT, 250, lambda count: [["stdout", "".join(f"{i}\n" for i in range(count))]]),
    "big": (BIG, 20, lambda count: [["stdout", "".join(f"{i} {'x' * 1000000}\n" for i in range(count))]]),
    "buffers": (BUFFERS, 200, lambda count: [["display_data", str(i), (bytes([i % 256]) * 500).hex()] for i in range(count)]),
    "progress": (PROGRESS, 240, progress_outputs),
}


BLOCK = 8  # rounds with one notebook
FORMS = ("legacy", "v1", "server")  # at the gateway, or at a notebook server in between


class Notebook:
    """The viewer's process, and the proxy that it looks through."""

    def __init__(self, proxy, kernel_id, **options):
        self.proxy = proxy
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "viewer.py"), str(proxy.port), kernel_id, json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        self.expect("connected")

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def read(self, timeout=ROUND_TIMEOUT_S):
        line = self.lines.get(timeout=timeout)
        assert line is not None, f"the notebook ended with {self.process.wait()}"
        return json.loads(line)

    def expect(self, event):
        said = self.read()
        assert said == {"event": event}, json.dumps(said)[:1000]

    def begin(self, code):
        self.process.stdin.write(json.dumps({"code": code}) + "\n")
        self.expect("running")

    def freeze(self, seconds):
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)  # the disturbance itself
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Chaos:
    def __init__(self, build, specs, seed):
        self.random = random.Random(seed)
        self.gateway = Gateway(build, specs)
        self.gateway.start()
        self.server = None
        self.proxies = {}  # by what they lead to
        self.kernel_id = self.gateway.start_kernel("python3")["id"]
        self.notebooks = {}
        self.done, self.shares, self.failures = Counter(), [], []

    # -- disturbances: each returns when it is over --
    def gateway_kill(self, notebook):
        self.gateway.kill()
        self.gateway.start()

    def gateway_term(self, notebook):
        self.gateway.stop()
        self.gateway.start()

    def gateway_upgrade(self, notebook):
        hand_over(self.gateway)

    def server_kill(self, notebook):
        """The notebook server in between, if there is one; else the socket."""
        if notebook.proxy is not self.proxies.get("server"):
            notebook.proxy.cut()
            return
        self.server.kill()
        self.server.start()

    def socket_reset(self, notebook):
        notebook.proxy.cut()

    def network_half_open(self, notebook):
        """Nothing passes, and nobody is told for a while."""
        notebook.proxy.freeze()
        time.sleep(self.random.uniform(0.05, 0.5))
        notebook.proxy.cut()

    def network_swallows(self, notebook):
        """Something in between takes what is sent, and loses it: a notebook server whose browser is gone."""
        notebook.proxy.swallow()
        time.sleep(self.random.uniform(0.05, 0.5))
        notebook.proxy.cut()

    def notebook_frozen(self, notebook):
        notebook.freeze(self.random.uniform(0.05, 0.5))

    def notebook_frozen_and_cut(self, notebook):
        notebook.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.05, 0.5))
        notebook.proxy.cut()
        notebook.process.send_signal(signal.SIGCONT)

    KINDS = (gateway_kill, gateway_term, gateway_upgrade, server_kill, socket_reset, network_half_open,
             network_swallows, notebook_frozen, notebook_frozen_and_cut)

    # -- rounds --
    def proxy_to(self, form):
        if form == "server" and self.server is None:
            folder = Path(tempfile.mkdtemp(dir=self.gateway.home))
            (folder / "config").mkdir()
            shutil.copy(HERE / "jupyter_server_config.py", folder / "config")
            self.server = Server(self.gateway, folder)
        name = "server" if form == "server" else "gateway"
        if name not in self.proxies:
            self.proxies[name] = Proxy(self.server.port if form == "server" else self.gateway.port)
        return self.proxies[name]

    def notebook(self, form):
        if form not in self.notebooks:
            options = {"server": {"server": True}, "v1": {"v1": True}}.get(form, {})
            self.notebooks[form] = Notebook(self.proxy_to(form), self.kernel_id, **options)
        return self.notebooks[form]

    def drop_notebook(self, kind):
        if kind in self.notebooks:
            self.notebooks.pop(kind).stop()

    def round(self, number, kinds, form=None):
        cell = self.random.choices(list(CELLS), weights=(5, 1, 2, 2))[0]
        if number % BLOCK == 0:
            self.form = form or self.random.choices(FORMS, weights=(4, 4, 1))[0]
            for other in [each for each in self.notebooks if each != self.form]:
                self.drop_notebook(other)  # one that looked on would have to be told all that it missed meanwhile
        form = self.form
        if cell == "buffers" and form == "server":
            cell = "text"  # its gateway client takes no binary messages
        code, count, shown = CELLS[cell]
        disturbances = [self.random.choice(kinds) for _ in range(self.random.choice((1, 1, 2)))]
        what = f"round {number}: {cell} on {form}, {' and '.join(each.__name__ for each in disturbances)}"
        notebook = self.notebook(form)
        notebook.begin(code.format(count=count))
        for disturbance in disturbances:
            time.sleep(self.random.uniform(0, 0.5))  # the random moment
            disturbance(self, notebook)
        result = notebook.read()
        self.shares.append((result["repeated"], result["taken"]))
        problem = compare(result, shown(count))
        for disturbance in disturbances:
            self.done[disturbance.__name__] += 1
        if problem:
            self.failures.append(f"{what}: {problem}")
            self.drop_notebook(form)
        return what, problem

    def tell_logs(self, say):
        launcher = self.gateway.kernel_directory(self.kernel_id) / "launcher.log"
        say("gateway:\n" + self.gateway.log()[-6000:])
        say("launcher:\n" + (launcher.read_text(errors="replace")[-6000:] if launcher.exists() else "no log"))

    def stop(self):
        for kind in list(self.notebooks):
            self.drop_notebook(kind)
        for proxy in self.proxies.values():
            proxy.__exit__()
        if self.server is not None:
            self.server.stop()
        try:
            self.gateway.stop()
            self.gateway.check()
        finally:
            self.gateway.clean()


def compare(result, expected):
    if not result["replies"] or not result["idle"]:
        return "no reply" if result["idle"] else "no idle" if result["replies"] else "neither reply nor idle"
    if {reply["status"] for reply in result["replies"]} != {"ok"}:
        return f"the replies are {json.dumps(result['replies'])[:400]}"
    if result["outputs"] != expected:
        return f"shows {shorten(result['outputs'])} instead of {shorten(expected)}"
    if result["strays"]:
        return f"repeated outside a rebuilt cell: {json.dumps(result['strays'])[:400]}"
    return None


def shorten(outputs):
    """Where the lines go wrong, not a megabyte of them."""
    lines = [line[:12] for output in outputs for line in output[1].splitlines()]
    text = f"{len(outputs)} outputs, {len(lines)} lines: " + " ".join(lines)
    return text if len(text) < 1500 else text[:700] + " ... " + text[-700:]


def run(build, specs, rounds, seed, only=None, form=None, verbose=False, say=functools.partial(print, flush=True)):
    """True when every cell was shown exactly."""
    kinds = [kind for kind in Chaos.KINDS if only is None or kind.__name__ in only]
    chaos = Chaos(build, specs, seed)
    begin = time.monotonic()
    try:
        for number in range(rounds):
            what, problem = chaos.round(number, kinds, form)
            if verbose:
                say(f"{time.monotonic() - begin:5.0f} s  {what}")
            if problem:
                say(f"FAILED {what}: {problem}")
            elif number % 50 == 49:
                say(f"{number + 1} rounds, {len(chaos.failures)} failed, {time.monotonic() - begin:.0f} s")
    except BaseException:
        chaos.tell_logs(say)
        raise
    finally:
        chaos.stop()
    repeated, wire = (sum(share) for share in zip(*chaos.shares))
    say(f"seed {seed}: {rounds} rounds in {time.monotonic() - begin:.0f} s, {len(chaos.failures)} failed")
    say("disturbances: " + ", ".join(f"{name} {count}" for name, count in sorted(chaos.done.items())))
    say(f"messages: {wire}, of them repeated inside rebuilt cells: {repeated} ({100 * repeated / max(wire, 1):.1f} %)")
    return chaos.failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", nargs="*", metavar="DISTURBANCE")
    parser.add_argument("--form", choices=FORMS, help="how the notebook is connected")
    parser.add_argument("--verbose", action="store_true", help="name each round")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 30)
    build = Path(arguments.build).resolve()
    with tempfile.TemporaryDirectory() as directory:
        specs = Specs(directory, build)
        specs.python()
        sys.exit(1 if run(build, specs, arguments.rounds, seed, arguments.only, arguments.form,
                          arguments.verbose) else 0)


if __name__ == "__main__":
    main()
