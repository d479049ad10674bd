"""Manual pages and completion, by the programs that read them."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest


def written(build, *arguments):
    return subprocess.run([build / "elara", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("page", ["elara", "elara-gateway"])
def test_manual_pages(build, tmp_path, page):
    file = tmp_path / f"{page}.1"
    file.write_text(written(build, "man", page))
    shown = subprocess.run(["man", "--warnings", "-l", file], capture_output=True, text=True, timeout=60,
                           env=os.environ | {"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat", "MAN_KEEP_FORMATTING": ""})
    assert shown.returncode == 0 and shown.stderr == ""
    for name in {"elara": ["kernelspecs check", "config check FILE", "--url VALUE", "ELARA_URL"],
                 "elara-gateway": ["--config FILE", "--max-kernels VALUE", "EG_MAX_KERNELS", "SIGHUP", "auth_token"]}[page]:
        assert name in shown.stdout


class Terminal:
    """A bash as people have it, in a terminal."""

    def __init__(self, build, script):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"PATH": f"{build}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null"}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))  # no line is scrolled sideways
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.type(f"bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; source {script}; echo rea''dy\n")
        self.read_until("ready\r\n")

    def type(self, text):
        os.write(self.fd, text.encode())

    def read_until(self, text):
        got, deadline = "", time.monotonic() + 20
        while text not in got:
            assert time.monotonic() < deadline, got
            if select.select([self.fd], [], [], 0.1)[0]:
                got += os.read(self.fd, 65536).decode()
        return got

    def completes(self, line, to):
        self.type(line + "\t")
        self.read_until(to)
        self.type("\x15")  # takes the line away

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def test_bash(build, tmp_path):
    script = tmp_path / "elara.bash"
    script.write_text(written(build, "completion", "bash"))
    subprocess.run(["bash", "-n", script], check=True, timeout=60)
    terminal = Terminal(build, script)
    terminal.completes("elara kernelsp", "elara kernelspecs ")
    terminal.completes("elara kernelspecs c", "elara kernelspecs check ")
    terminal.completes("elara token new ann --role=ad", "--role=admin ")
    terminal.completes("elara token new ann --role u", "--role user ")
    terminal.completes("elara journal x --tok", "--token-file ")
    terminal.completes("elara completion f", "elara completion fish ")
    terminal.completes("elara-gateway --no-insec", "--no-insecure ")
    terminal.completes("elara-gateway --refusal-style no", "--refusal-style notebook ")
    terminal.completes(f"elara-gateway --config {tmp_path}/elara.b", f"{tmp_path}/elara.bash ")
    terminal.completes("elara-gateway --port 1 --max-kernels-per-u", "--max-kernels-per-user ")
    terminal.close()


def test_zsh(build, tmp_path):
    """Its completion system hands words and CURRENT over, and takes what compadd gets."""
    script = tmp_path / "_elara"
    script.write_text(written(build, "completion", "zsh"))
    subprocess.run(["zsh", "-n", script], check=True, timeout=60)

    def found(*words):
        said = " ".join(f"'{word}'" for word in words)
        asked = (f"compdef() {{ }}; compadd() {{ print -r -- \"$@\" }}; compset() {{ }}; _files() {{ print FILES }}; source {script};"
                 f"words=({said} '{words[-1]}'); CURRENT={len(words)}; words[-1]=(); _elara")
        return subprocess.run(["zsh", "-f", "-c", asked], capture_output=True, text=True, check=True, timeout=60).stdout.split()

    assert "kernelspecs" in found("elara", "")
    assert {"list", "check"} < set(found("elara", "kernelspecs", ""))
    assert "--token-file" in found("elara", "journal", "x", "")
    assert set(found("elara", "token", "new", "--role", "")) == {"--", "user", "admin", "viewer", "metrics"}
    assert found("elara-gateway", "--config", "") == ["FILES"]
    assert "--max-kernels" in found("/usr/bin/elara-gateway", "")
    assert "--url" in found("elara", "cull", "--dry-run", "")


def test_fish(build, tmp_path):
    script = tmp_path / "elara.fish"
    script.write_text(written(build, "completion", "fish"))
    subprocess.run(["fish", "--no-execute", script], check=True, timeout=60)

    def found(line):
        asked = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"], capture_output=True, text=True,
                               check=True, timeout=60, env=os.environ | {"HOME": str(tmp_path)})
        assert asked.stderr == ""
        return re.findall(r"^([^\t\n]+)", asked.stdout, re.MULTILINE)

    assert found("elara kernelsp") == ["kernelspecs"]
    assert set(found("elara kernelspecs ")) >= {"list", "check"}
    assert found("elara token new ann --role ad") == ["admin"]
    assert "--token-file" in found("elara journal x --tok")
    assert "--no-insecure" in found("elara-gateway --no-in")
    assert found("elara-gateway --refusal-style no") == ["notebook"]


def test_they_are_installed(build, tmp_path):
    if not (build / "pages" / "elara.1").exists():
        subprocess.run(["cmake", "--build", build, "--target", "pages"], check=True, capture_output=True, timeout=600)
    subprocess.run(["cmake", "--install", build, "--prefix", tmp_path], check=True, capture_output=True, timeout=120)
    for file in ("bin/elara", "bin/elara-gateway", "bin/elara-launcher", "share/man/man1/elara.1", "share/man/man1/elara-gateway.1",
                 "share/bash-completion/completions/elara", "share/zsh/site-functions/_elara", "share/fish/vendor_completions.d/elara.fish"):
        assert (tmp_path / file).stat().st_size > 0
    assert subprocess.run([tmp_path / "bin" / "elara", "--version"], capture_output=True, timeout=60).returncode == 0
