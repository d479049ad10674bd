"""The settings of a real gateway: what it says of mistakes, and what changes while it runs."""
import json
import os
import pathlib
import re
import signal
import subprocess

import jsonschema
import pytest
import yaml

from support.processes import wait_until

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def elara(build, *arguments):
    return subprocess.run([build / "elara", *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def config(tmp_path):
    return tmp_path / "elara.yaml"


def write(path, text):
    """As an editor does it."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o600)
    beside.rename(path)


# What is written, whether the schema can tell, and what config check says of it.
BAD = {
    "an unknown key": ("max_kernel: 5\n", True, ["elara.yaml:1: unknown key", "max_kernels"]),
    "a duplicate": ("port: 1\nip: a\nport: 2\n", False, ["line 3", '"port" is there twice']),
    "a tab": ("port: 1\n\tip: a\n", False, ["line 2", "spaces"]),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", False, ["line 1", "anchors"]),
    "a wrong type": ("port: [1]\n", True, ["elara.yaml:1: port: must be a whole number from 0 to 65535"]),
    "a wrong unit": ("launch_timeout: 5min\n", True, ["elara.yaml:1: launch_timeout: ", "500ms, 30s, 5m"]),
    "a size for a time": ("launch_timeout: 5k\n", True, ["elara.yaml:1: launch_timeout: "]),
    "a negative number": ("max_kernels: -5\n", True, ["elara.yaml:1: max_kernels: ", "from -1 to"]),
    "an enormous number": ("max_kernels: 1" + "0" * 30 + "\n", True, ["line 1", "too large"]),
    "a time too short for its unit": ("launch_timeout: 0.0001\n", True, ["elara.yaml:1: launch_timeout: "]),
    "an unknown word": ("refusal_style: loud\n", True, ["one of auto, http, notebook"]),
    "a level": ("\n\nlog_level: LOUD\n", False, ["elara.yaml:3: log_level: ", "DEBUG, INFO"]),
    "an override": ("cull_overrides:\n  owners:\n    ann:\n      idle_timeout: soon\n", False, ["elara.yaml:4: cull_overrides: "]),
    "no mapping": ("- port\n", True, ["elara.yaml"]),
}


@pytest.mark.parametrize("name", BAD)
def test_config_check_says_what_would_be_right(build, config, name):
    text, schema_knows, said = BAD[name]
    config.write_text(text)
    checked = elara(build, "config", "check", config)
    assert checked.returncode == 1, checked.stdout
    for part in said:
        assert part in checked.stdout, checked.stdout
    if schema_knows:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), json.loads((DOCS / "configuration.schema.json").read_text()))


def test_config_check_tells_of_all_mistakes_at_once(build, config):
    config.write_text("prot: 1\nlaunch_timeout: soon\nmax_kernels: many\n")
    checked = elara(build, "config", "check", config)
    assert checked.returncode == 1
    assert [line.split(":")[1] for line in checked.stdout.splitlines()[:3]] == ["1", "2", "3"]
    assert "3 problems" in checked.stdout


def test_config_check_of_files_that_cannot_be_read(build, tmp_path):
    assert elara(build, "config", "check").returncode == 2
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        checked = elara(build, "config", "check", path)
        assert checked.returncode == 1
        assert str(path) in checked.stdout
    (tmp_path / "large.yaml").write_text("# \n" * (1 << 19))
    assert elara(build, "config", "check", tmp_path / "large.yaml").returncode == 1


def test_what_is_shown_is_checked_and_fits_the_schema(build, config):
    """All settings as they are by default, and as the docs have them."""
    shown = subprocess.run([build / "elara-gateway", "--show-config"], capture_output=True, text=True, check=True, timeout=60,
                           env={"HOME": "/"}).stdout
    config.write_text(shown)
    checked = elara(build, "config", "check", config)
    assert checked.returncode == 0, checked.stdout
    schema = json.loads((DOCS / "configuration.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(shown), schema)
    assert set(yaml.safe_load(shown)) == set(schema["properties"]) - {"auth_token"} | {"auth_token"} & set(yaml.safe_load(shown))


def test_show_config_names_each_source(build, config):
    """Nobody has to guess whether a setting counts (kubeflow 7053)."""
    config.write_text("ip: 127.0.0.1\n\nmax_kernels: 5\nlaunch_timeout: 20\n")
    shown = subprocess.run([build / "elara-gateway", "--config", config, "--port=1", "--show-config"], capture_output=True, text=True,
                           check=True, timeout=60, env={"EG_MAX_KERNELS": "6", "EG_MAX_KERNEL": "7"})
    assert "\nport: 1  # --port\n" in shown.stdout
    assert "\nmax_kernels: 6  # EG_MAX_KERNELS\n" in shown.stdout
    assert f"\nlaunch_timeout: 20s  # {config}:4\n" in shown.stdout
    assert "\nport_retries: 0  # default\n" in shown.stdout
    assert f"max_kernels: EG_MAX_KERNELS counts, which says 6, and not {config}:3, which says 5" in shown.stderr
    assert "EG_MAX_KERNEL is set, but no setting has that name; is EG_MAX_KERNELS meant?" in shown.stderr


def test_sources_that_contradict_each_other(build, config):
    """A flag goes before a variable, that before the file; config check judges the file alone."""
    config.write_text("port: 5\nmax_kernels: 5\nlaunch_timeout: 20\n")
    environment = {"EG_MAX_KERNELS": "6", "ELARA_MAX_KERNELS": "7", "EG_KERNEL_LAUNCH_TIMEOUT": "20"}
    shown = subprocess.run([build / "elara-gateway", "--config", config, "--max-kernels=8", "--show-config"], capture_output=True,
                           text=True, check=True, timeout=60, env=environment)
    assert "\nmax_kernels: 8  # --max-kernels\n" in shown.stdout and f"\nport: 5  # {config}:1\n" in shown.stdout
    said = [line.split(": ", 1)[1] for line in shown.stderr.splitlines() if "counts" in line]
    assert said == [f"max_kernels: EG_MAX_KERNELS counts, which says 6, and not {config}:2, which says 5",
                    "max_kernels: ELARA_MAX_KERNELS counts, which says 7, and not EG_MAX_KERNELS, which says 6",
                    "max_kernels: --max-kernels counts, which says 8, and not ELARA_MAX_KERNELS, which says 7"]  # equal is no news
    for environment in ({"EG_MAX_KERNELS": "6"}, {"EG_MAX_KERNELS": "many"}, {}):
        checked = subprocess.run([build / "elara", "config", "check", config], capture_output=True, text=True, timeout=60, env=environment)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, f"{config}: 0 problems\n", "")


def test_config_check_tells_of_variables_that_do_nothing(build, config):
    """Of the environment in which it is called, which changes nothing in what it says of the file."""
    environment = {"EG_MAX_KERNEL": "7", "KG_NAME": "x", "EG_DOCKER_NETWORK": "x", "ELARA_URL": "http://x", "EG_MAX_KERNELS": "many"}
    for text, status in (("port: 5\n", 0), ("prot: 5\n", 1)):
        config.write_text(text)
        checked = subprocess.run([build / "elara", "config", "check", config], capture_output=True, text=True, timeout=60, env=environment)
        assert checked.returncode == status and checked.stdout.endswith(f"{config}: {status} problem{'s' * (not status)}\n")
        notes = [line for line in checked.stdout.splitlines() if line.startswith("note: ")]
        assert notes == ["note: EG_MAX_KERNEL is set, but no setting has that name; is EG_MAX_KERNELS meant?",
                         "note: EG_DOCKER_NETWORK is set, but does nothing: Docker and Docker Swarm are not supported",
                         "note: KG_NAME is set, but does nothing: only some KG_ variables are read (docs/configuration.md); "
                         "set the EG_ or ELARA_ one"]


def started(gateway):
    """The status of an attempt to start a kernel."""
    return gateway.post("/api/kernels", json={"name": "stub"}).status_code


def test_a_changed_file_counts_at_once(start_gateway, config):
    write(config, "max_kernels: 0\nrefusal_style: http\n")
    gateway = start_gateway("--config", str(config))
    assert started(gateway) == 403
    write(config, "max_kernels: 1\nrefusal_style: http\nroot_dir: /\nport_retries: 3\nbody_limit: 16k\n")
    wait_until(lambda: "max-kernels: was 0, is 1" in gateway.log(), 10, "the new limit")
    assert started(gateway) == 201
    assert started(gateway) == 403
    assert gateway.post("/api/kernels", data=b" " * 20000).status_code == 413
    assert "port-retries has changed" in gateway.log() and "next start" in gateway.log()


def test_a_broken_file_changes_nothing(start_gateway, config):
    write(config, "max_kernels: 1\nrefusal_style: http\n")
    gateway = start_gateway("--config", str(config))
    write(config, "max_kernels: 0\nrefusal_style: htp\n")
    wait_until(lambda: f"{config}:2: refusal_style" in gateway.log(), 10, "the mistake")
    assert started(gateway) == 201
    status = gateway.get("/api/elara/status").json()["settings"]
    assert f"{config}:2" in status["problem"] and status["problem_since"]
    write(config, "max_kernels: 2\nrefusal_style: http\n")
    wait_until(lambda: "max-kernels: was 1, is 2" in gateway.log(), 10, "the repaired file")
    assert gateway.get("/api/elara/status").json()["settings"]["problem"] is None
    assert started(gateway) == 201
    assert started(gateway) == 403
    config.unlink()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the configuration file" in gateway.log(), 10, "the missing file")
    assert started(gateway) == 403
    assert gateway.get("/api/kernels").status_code == 200


def test_a_config_map_is_swapped(start_gateway, tmp_path):
    """..data is a symlink to a directory of one version; the file is one to ..data/elara.yaml."""
    for version, limit in (("..v1", 0), ("..v2", 1)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "elara.yaml").write_text(f"max_kernels: {limit}\nrefusal_style: http\n")
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "elara.yaml").symlink_to("..data/elara.yaml")
    gateway = start_gateway("--config", str(tmp_path / "elara.yaml"))
    assert started(gateway) == 403
    (tmp_path / "..tmp").symlink_to("..v2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    wait_until(lambda: "max-kernels: was 0, is 1" in gateway.log(), 10, "the second version")
    assert started(gateway) == 201


def test_tokens_change_without_a_restart(start_gateway, config, build):
    write(config, "auth_token: first\n")
    gateway = start_gateway("--config", str(config))

    def status(token):
        return gateway.get("/api/kernels", headers={"Authorization": f"token {token}"}).status_code

    assert (status("first"), status("second")) == (200, 401)
    write(config, "auth_token: second\n")
    wait_until(lambda: status("second") == 200, 10, "the second token")
    assert status("first") == 401
    new = elara(build, "token", "new", "ann").stdout
    tokens = config.parent / "tokens"
    write(tokens, re.search(r"ann:user:\S+", new)[0] + "\n")
    write(config, f"auth_token_file: {tokens}\n")
    wait_until(lambda: status("second") == 401, 10, "the token file")
    assert "second" not in gateway.log()
    write(config, "auth_token_file: /nowhere\n")  # cannot be read: what there is stays
    read = gateway.log().count("the settings have been read again")
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the tokens stay as they were" in gateway.log().split("SIGHUP: ")[-1], 10, "the mistake")
    gateway.get("/healthz")  # a later turn of the loop
    assert gateway.log().count("the settings have been read again") == read
    assert status("second") == 401
    assert gateway.get("/api/kernels").status_code == 401


def test_certificates_move_without_a_restart(start_gateway, config):
    import ssl

    def make(name):
        files = config.parent / f"{name}.pem", config.parent / f"{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", f"/CN={name}", "-keyout", files[1], "-out", files[0]], check=True, capture_output=True, timeout=60)
        return f"certfile: {files[0]}\nkeyfile: {files[1]}\n", files[0].read_text()

    first, first_certificate = make("first")
    second, second_certificate = make("second")
    write(config, first)
    gateway = start_gateway("--config", str(config), ready=False)

    def served():
        try:
            return ssl.get_server_certificate(("127.0.0.1", gateway.port))
        except OSError:
            return None

    wait_until(lambda: served() == first_certificate, 20, "the first certificate")
    write(config, second)
    wait_until(lambda: served() == second_certificate, 10, "the second certificate")
    write(config, "max_kernels: 5\n")
    wait_until(lambda: "certfile has changed" in gateway.log(), 10, "the word about a restart")
    assert served() == second_certificate


def test_unreadable_files_are_named(build, config):
    config.write_text("port: 1\n")
    config.chmod(0)
    if os.access(config, os.R_OK):  # root reads everything
        config.unlink()
    failed = subprocess.run([build / "elara-gateway", "--config", config], capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert str(config) in failed.stderr
