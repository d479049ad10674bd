"""What is on disk, in command lines and in logs."""
import contextlib
import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

from support.processes import processes_mentioning
from test_valgrind import is_sanitized

SHADOW_BYTES = 1 << 30  # a sanitizer reserves more for itself, and nothing else does


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_connection_file_is_private_and_so_are_the_directories(gateway, kernel, client):
    client.kernel_info()
    folder = gateway.kernel_directory(kernel)
    files = list(folder.glob("connection*.json"))
    assert files and all(mode(path) == 0o600 for path in files)
    assert mode(folder) == 0o700 and mode(folder.parent) == 0o700 and mode(gateway.runtime) == 0o700
    for path in folder.rglob("*"):
        if not path.is_symlink():
            assert mode(path) & 0o077 == 0, f"{path} is open to others"
    info = json.loads(files[0].read_text())
    assert {"shell_port", "iopub_port", "stdin_port", "control_port", "hb_port", "ip", "key", "transport",
            "signature_scheme"} <= set(info)
    assert info["signature_scheme"] == "hmac-sha256" and len(info["key"]) >= 32
    assert info["transport"] == "ipc" or info["ip"] == "127.0.0.1"


def places_in_memory(pid, text):
    """The mappings of a process in which these bytes stand, with what smaps says of each."""
    maps = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text(), flags=re.MULTILINE)[1:]
    found = []
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for one in maps:
            low, high = (int(end, 16) for end in one.split()[0].split("-"))
            if one.split()[1][0] == "r" and "[v" not in one.split("\n")[0] and high - low < SHADOW_BYTES:
                memory.seek(low)
                with contextlib.suppress(OSError):  # a file that is shorter than its mapping
                    found += [one] * (text in memory.read(high - low))
    return found


def test_a_kernels_key_is_in_locked_memory_alone(gateway, kernel, client, build):
    """Both what the launcher signs with and the text for the connection file."""
    assert client.run_cell("print signed").text() == "signed\n"
    info = json.loads(next(gateway.kernel_directory(kernel).glob("connection*.json")).read_text())
    (launcher,) = gateway.launcher_pids(kernel)
    try:
        places = places_in_memory(launcher, info["key"].encode())
    except PermissionError:
        pytest.skip("machine limit: nobody may look into another process (CAP_SYS_PTRACE)")
    assert len(places) == 1
    flags = {"dd", "wf"} if is_sanitized(build / "elara-launcher") else {"lo", "dd", "wf"}  # AddressSanitizer lets nobody lock
    assert flags <= set(re.search(r"^VmFlags: (.*)$", places[0], re.MULTILINE)[1].split()), places[0]
    assert places_in_memory(gateway.process.pid, info["key"].encode()) == []


def test_runtime_directory_open_to_others_is_refused(build, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    refused = subprocess.run([build / "elara-gateway", "--port", "0", "--runtime-dir", folder], capture_output=True,
                             text=True, timeout=10)
    assert refused.returncode != 0 and str(folder) in refused.stderr


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in children for found in (int(child), *descendants(int(child)))]


def texts_of(gateway):
    """All log files, and the command lines and environments of all processes. The gateway itself was given its token so."""
    texts = {"gateway.log": gateway.log()}
    for path in gateway.runtime.rglob("*.log"):
        texts[str(path)] = path.read_text(errors="replace")
    for pid in {*processes_mentioning(str(gateway.home)), *descendants(gateway.process.pid)}:
        with contextlib.suppress(OSError):
            texts[f"{pid} cmdline"] = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if pid != gateway.process.pid:
                texts[f"{pid} environ"] = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return texts


def test_no_token_and_no_key_in_logs_command_lines_or_environments(start_gateway, connect, build):
    token = "tok-3f9a77c1e5"
    gateway = start_gateway("--log-level", "DEBUG", token=token)
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        assert client.run_cell("env ELARA_AUTH_TOKEN\nenv EG_AUTH_TOKEN\nenv KG_AUTH_TOKEN").text() == "(unset)\n" * 3
        assert gateway.get(f"/api/kernels?token={token}").status_code == 200
        gateway.get(f"/api/kernels?token={token}-wrong", headers={"Authorization": ""})
        gateway.get(f"/api/kernels?a=1&%74oken={token}", headers={"Authorization": ""})
        key = json.loads(next(gateway.kernel_directory(kernel_id).glob("connection*.json")).read_text())["key"]
        texts = texts_of(gateway)
        assert f"{gateway.spawner_pid()} cmdline" in texts
        for where, text in texts.items():
            assert token not in text, where
            assert key not in text, where
        if is_sanitized(build / "elara-gateway"):  # AddressSanitizer has a copy of the environment
            return
        with contextlib.suppress(PermissionError):  # where nobody may look there at all
            assert places_in_memory(gateway.spawner_pid(), token.encode()) == []


def test_show_config_masks_secrets_and_names_sources(build):
    shown = subprocess.run([build / "elara-gateway", "--show-config", "--port", "1234"], capture_output=True, text=True,
                           timeout=10, env={"EG_AUTH_TOKEN": "hunter2", "EG_MAX_KERNELS": "5"})
    assert shown.returncode == 0, shown.stderr
    assert "hunter2" not in shown.stdout
    assert re.search(r"port: 1234.*--port", shown.stdout) and re.search(r"max_kernels: 5.*EG_MAX_KERNELS", shown.stdout)


def test_help_and_version(build):
    helped = subprocess.run([build / "elara-gateway", "--help"], capture_output=True, text=True, timeout=10)
    assert helped.returncode == 0
    for flag in ("--ip", "--port", "--base-url", "--runtime-dir", "--auth-token-file", "--kernelspec-dirs"):
        assert flag in helped.stdout
    version = subprocess.run([build / "elara-gateway", "--version"], capture_output=True, text=True, timeout=10)
    assert re.fullmatch(r"elara-gateway \d+\.\d+\.\d+\n", version.stdout)


def test_unknown_eg_variable_is_warned_about(start_gateway):
    gateway = start_gateway(environment={"EG_NO_SUCH_SETTING": "1"})
    assert "EG_NO_SUCH_SETTING" in gateway.log()


def test_variables_of_the_admin_program_are_known(start_gateway):
    gateway = start_gateway(environment={f"ELARA_{name}": "1" for name in ("URL", "TOKEN", "TOKEN_FILE", "CA_FILE", "TIMEOUT", "TIMEOUTS")})
    assert re.findall(r"ELARA_\w+ is set", gateway.log()) == ["ELARA_TIMEOUTS is set"]


@pytest.mark.parametrize("arguments, words", [(["--no-such-flag"], ["--no-such-flag"]), (["--port", "99999"], ["port", "65535"]),
                                              (["--port", "x"], ["port"]), (["stray"], ["stray"])])
def test_bad_flags_end_it_with_the_reason(build, arguments, words):
    refused = subprocess.run([build / "elara-gateway", *arguments], capture_output=True, text=True, timeout=10)
    assert refused.returncode != 0
    for word in words:
        assert word in refused.stderr


def test_port_that_is_taken_is_said(build, gateway, tmp_path):
    refused = subprocess.run([build / "elara-gateway", "--port", str(gateway.port), "--runtime-dir", tmp_path / "run"],
                             capture_output=True, text=True, timeout=10)
    assert refused.returncode != 0 and str(gateway.port) in refused.stderr


def test_request_cannot_forge_a_log_line(gateway):
    gateway.get("/api/x%0a2026-01-01T00:00:00.000000Z%20ERROR%20forged: line")
    assert not any(line.startswith("2026-01-01") for line in gateway.log().splitlines())
