"""Kernelspecs over REST: the models, resources, live reload."""
import json
import os
import shutil
import subprocess

import pytest

from support.kernelspecs import PIXEL, write_spec
from support.processes import wait_until
from test_rest import check_error


def names(gateway):
    return set(gateway.get("/api/kernelspecs").json()["kernelspecs"])


def test_list_has_the_models_and_the_default(gateway):
    body = gateway.get("/api/kernelspecs").json()
    assert body["default"] == "python3"
    stub = body["kernelspecs"]["stub"]
    assert stub["name"] == "stub"
    assert stub["spec"]["display_name"] == "Stub" and stub["spec"]["language"] == "stub"
    assert isinstance(stub["spec"]["argv"], list)
    assert stub["spec"].get("interrupt_mode", "signal") == "signal" and isinstance(stub["spec"].get("metadata", {}), dict)
    assert stub["resources"] == {"logo-64x64": "/kernelspecs/stub/logo-64x64.png"}
    assert body["kernelspecs"]["stub-message"]["spec"]["interrupt_mode"] == "message"


def test_one_spec_by_name_in_any_case(gateway):
    assert gateway.get("/api/kernelspecs/stub").json()["spec"]["display_name"] == "Stub"
    assert gateway.get("/api/kernelspecs/STUB").status_code == 200
    check_error(gateway.get("/api/kernelspecs/cobol"), 404, "cobol")


def test_unknown_fields_and_metadata_come_back_untouched(start_gateway, specs):
    specs.stub("rich", metadata={"process_proxy": {"config": {"image_name": "r/i:1"}}, "n": [1, {"a": None}]},
               kernel_protocol_version="5.5", x_future={"k": 1.5})
    spec = start_gateway().get("/api/kernelspecs/rich").json()["spec"]
    assert spec["metadata"] == {"process_proxy": {"config": {"image_name": "r/i:1"}}, "n": [1, {"a": None}]}
    assert spec["kernel_protocol_version"] == "5.5" and spec["x_future"] == {"k": 1.5}


def test_env_values_are_published_only_when_asked_for(start_gateway, specs):
    specs.stub("secretive", env={"DATABASE_PASSWORD": "hunter2"})
    spec = start_gateway().get("/api/kernelspecs/secretive")
    assert "hunter2" not in spec.text and "DATABASE_PASSWORD" in spec.json()["spec"]["env"]
    assert "hunter2" in start_gateway("--publish-kernelspec-env").get("/api/kernelspecs/secretive").text


def test_env_of_the_spec_reaches_the_kernel_with_variables_filled_in(start_gateway, specs, connect):
    specs.stub("env", env={"GREETING": "hello ${KERNEL_USERNAME}", "PLAIN": "$NOT_SET_ANYWHERE x"})
    gateway = start_gateway()
    with gateway.kernel("env", env={"KERNEL_USERNAME": "ada"}) as kernel_id:
        client = connect(gateway, kernel_id)
        assert client.run_cell("env GREETING").text() == "hello ada\n"
        assert client.run_cell("env PLAIN").text() == "$NOT_SET_ANYWHERE x\n"
        assert client.run_cell("env KERNEL_ID").text() == f"{kernel_id}\n"


def test_resource_is_served_with_type_etag_and_head(gateway):
    answer = gateway.get("/kernelspecs/stub/logo-64x64.png")
    assert answer.status_code == 200 and answer.content == PIXEL and answer.headers["Content-Type"] == "image/png"
    assert gateway.get("/kernelspecs/stub/logo-64x64.png", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    head = gateway.request("HEAD", "/kernelspecs/stub/logo-64x64.png")
    assert head.status_code == 200 and head.content == b"" and head.headers["Content-Length"] == str(len(PIXEL))
    assert gateway.get("/kernelspecs/stub/none.png").status_code == 404
    assert gateway.get("/kernelspecs/cobol/logo-64x64.png").status_code == 404


def test_only_what_is_meant_for_clients_is_served_as_a_resource(start_gateway, specs):
    folder = specs.stub("private", env={"PASSWORD": "hunter2"})
    (folder / "kernel.js").write_text("define({})")
    gateway = start_gateway()
    assert gateway.get("/api/kernelspecs/private").json()["resources"]["kernel.js"] == "/kernelspecs/private/kernel.js"
    assert gateway.get("/kernelspecs/private/kernel.js").status_code == 200
    check_error(gateway.get("/kernelspecs/private/kernel.json"), 404, "env")


@pytest.mark.parametrize("stanza", [{"process_proxy": {"class_name": "a.b.KubernetesProcessProxy"}},
                                    {"kernel_provisioner": {"provisioner_name": "yarn"}}])
def test_starter_that_is_not_here_is_501(start_gateway, specs, stanza):
    specs.stub("elsewhere", metadata=stanza)
    gateway = start_gateway()
    assert "elsewhere" in names(gateway)
    session = {"path": "p", "type": "notebook", "kernel": {"name": "elsewhere"}}
    check_error(gateway.post("/api/kernels", json={"name": "elsewhere"}), 501, "elsewhere")
    check_error(gateway.post("/api/sessions", json=session), 501, "elsewhere")
    shown = gateway.post("/api/kernels", json={"name": "elsewhere"}, headers={"User-Agent": "Tornado/6.5.2"})
    assert shown.status_code == 201 and "elsewhere" in shown.json()["reason"]
    check_error(gateway.post(f"/api/kernels/{shown.json()['id']}/restart"), 501, "elsewhere")


def test_symlinked_resource_is_served(start_gateway, specs, tmp_path):
    """ConfigMap volumes and package managers link files; the directories are the admin's."""
    folder = specs.stub("linked", logo=False)
    (tmp_path / "logo.png").write_bytes(PIXEL)
    (folder / "logo-32x32.png").symlink_to(tmp_path / "logo.png")
    assert start_gateway().get("/kernelspecs/linked/logo-32x32.png").content == PIXEL


def test_allow_and_deny_lists(start_gateway, specs):
    specs.stub("extra-one")
    specs.stub("extra-two")
    gateway = start_gateway("--allowed-kernelspecs", "extra-*,stub", "--denied-kernelspecs", "*-two")
    assert names(gateway) == {"extra-one", "stub"}
    assert gateway.post("/api/kernels", json={"name": "extra-two"}).status_code == 404
    gateway = start_gateway(environment={"EG_ALLOWED_KERNELS": "'stub','python3'"})
    assert names(gateway) == {"stub", "python3"}


def test_default_kernel_name(start_gateway):
    gateway = start_gateway(environment={"EG_DEFAULT_KERNEL_NAME": "stub"})
    assert gateway.get("/api/kernelspecs").json()["default"] == "stub"
    answer = gateway.post("/api/kernels")
    assert answer.json()["name"] == "stub"
    gateway.delete(f"/api/kernels/{answer.json()['id']}")


def test_a_default_that_is_not_there_is_told_and_replaced_by_nothing(start_gateway):
    gateway = start_gateway("--default-kernel-name", "cobol")
    assert "the default kernelspec cobol is not there: starting without a name will fail" in gateway.log()
    for body in ({}, {"name": ""}):
        check_error(gateway.post("/api/kernels", json=body), 404, "cobol")
    assert gateway.get("/api/kernels").json() == []
    with gateway.kernel("stub"):
        pass


# -- live reload --

def test_spec_appears_changes_and_goes_without_a_restart(start_gateway, specs):
    gateway = start_gateway()
    specs.stub("newcomer")
    wait_until(lambda: "newcomer" in names(gateway), 5, "the new kernelspec")
    specs.stub("newcomer", display_name="Renamed")
    wait_until(lambda: gateway.get("/api/kernelspecs/newcomer").json()["spec"]["display_name"] == "Renamed", 5, "the change")
    with gateway.kernel("newcomer"):
        shutil.rmtree(specs.directory / "newcomer")
        wait_until(lambda: "newcomer" not in names(gateway), 5, "the end of the kernelspec")


def test_kernelspec_directory_that_appears_later_is_seen(build, start_gateway, specs, tmp_path):
    later = tmp_path / "later" / "kernels"
    gateway = start_gateway("--kernelspec-dirs", f"{specs},{later}")
    assert "late" not in names(gateway)
    write_spec(later, "late", [specs.stub_program, "-f", "{connection_file}"])
    wait_until(lambda: "late" in names(gateway), 5, "the kernelspec in the new directory")


def test_configmap_symlink_swap_is_seen(start_gateway, specs, tmp_path):
    """A ConfigMap volume: files are links through ..data, which is swapped by a rename."""
    volume = tmp_path / "volume"

    def publish(version, display_name):
        version_folder = volume / f"..{version}"
        version_folder.mkdir(parents=True)
        spec = {"argv": [specs.stub_program, "-f", "{connection_file}"], "display_name": display_name, "language": "stub"}
        (version_folder / "kernel.json").write_text(json.dumps(spec))
        os.symlink(f"..{version}", volume / "..data_tmp")
        os.replace(volume / "..data_tmp", volume / "..data")

    publish("2026_01_01", "First")
    os.symlink("..data/kernel.json", volume / "kernel.json")
    os.symlink(volume, specs.directory / "mounted")
    gateway = start_gateway()

    def shown():
        return gateway.get("/api/kernelspecs/mounted").json()["spec"]["display_name"]

    assert shown() == "First"
    publish("2026_01_02", "Second")
    wait_until(lambda: shown() == "Second", 5, "the swapped ConfigMap")
    publish("2026_01_03", "Third")
    wait_until(lambda: shown() == "Third", 5, "the second swap")


@pytest.mark.parametrize("text, field", [
    ('{"argv": ["x"],\n "display_name": "B",\n "language": }', ":3"), ("", ""), ("[]", ""),
    ('{"display_name": "B", "language": "b"}', "argv"), ('{"argv": "x", "display_name": "B", "language": "b"}', "argv"),
    ('{"argv": [], "display_name": "B", "language": "b"}', "argv"),
    ('{"argv": ["x", 7], "display_name": "B", "language": "b"}', "argv"),
    ('{"argv": ["x"], "display_name": 7, "language": "b"}', "display_name"),
    ('{"argv": ["x"], "display_name": "B", "language": "b", "env": ["A=B"]}', "env"),
    ('{"argv": ["x"], "display_name": "B", "language": "b", "interrupt_mode": "shout"}', "interrupt_mode"),
], ids=["syntax", "empty", "array", "no argv", "argv text", "argv empty", "argv number", "display_name", "env", "interrupt"])
def test_broken_kernel_json_hides_only_itself_and_is_reported(build, start_gateway, specs, text, field):
    folder = specs.directory / "broken"
    folder.mkdir()
    (folder / "kernel.json").write_text(text)
    gateway = start_gateway()
    assert names(gateway) == {"stub", "stub-message", "python3"}
    assert gateway.post("/api/kernels", json={"name": "broken"}).status_code == 404
    line = next(line for line in gateway.log().splitlines() if "broken/kernel.json" in line)
    assert field in line
    check = subprocess.run([build / "elara", "kernelspecs", "check", "--kernelspec-dirs", str(specs)],
                           capture_output=True, text=True, timeout=10)
    assert check.returncode != 0
    assert "broken/kernel.json" in check.stdout + check.stderr and field in check.stdout + check.stderr


def test_spec_that_breaks_while_running_hides_itself_and_comes_back(start_gateway, specs):
    gateway = start_gateway()
    folder = specs.stub("flaky")
    wait_until(lambda: "flaky" in names(gateway), 5)
    (folder / "kernel.json").write_text("{")
    wait_until(lambda: "flaky" not in names(gateway), 5, "the broken one to be hidden")
    assert "stub" in names(gateway)
    specs.stub("flaky")
    wait_until(lambda: "flaky" in names(gateway), 5, "the mended one")


def test_check_command_is_content_with_good_specs(build, specs):
    check = subprocess.run([build / "elara", "kernelspecs", "check", "--kernelspec-dirs", str(specs)],
                           capture_output=True, text=True, timeout=10)
    assert check.returncode == 0, check.stdout + check.stderr


def test_check_command_looks_at_pods_where_kernels_are_pods(build, specs):
    specs.add("elsewhere", ["/only/in/the/image", "{connection_file}"], metadata={"process_proxy": {"class_name": "a.KubernetesProcessProxy"}})
    folder = specs.add("image", ["/only/in/the/image", "{connection_file}"])
    (folder / "pod.yaml").write_text("spec: {containers: [{image: 5}]}\n")

    def check(*flags):
        done = subprocess.run([build / "elara", "kernelspecs", "check", "--kernelspec-dirs", str(specs), *flags], capture_output=True,
                              text=True, timeout=10)
        return done.returncode, done.stdout

    status, output = check()
    assert status == 0 and "local processes only" in output and "no program /only/in/the/image" in output
    status, output = check("--provisioner", "kubernetes")
    assert status == 1 and "note: " not in output and ", 1 problem\n" in output
    assert f"{folder}/pod.yaml: spec.containers[0].image: must be a text" in output
    status, output = check("--provisioner", "kubernetes", "--json")
    [problem] = json.loads(output)["problems"]
    assert status == 1 and problem["file"] == f"{folder}/pod.yaml" and problem["problem"].startswith("spec.containers[0].image: ")
    (folder / "pod.yaml").write_text("spec: {containers: [{image: 'a:b'}]}\n")
    status, output = check("--provisioner", "kubernetes")
    assert status == 0 and ", 0 problems\n" in output
