"""What the settings of homes say, through a gateway and its pods: whose directory, where, as whom, and what else is shared."""
import os

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from homes import *  # noqa: F403 - its namespaces, not those of kernels
from homes import ADDRESS, WRITERS_GID
from support.explain import assert_foretold, explain, field
from support.processes import wait_until

IDS = "import os\nprint(os.getuid(), os.getcwd(), os.environ['HOME'])"


def pod_of(kube, places, kernel_id):
    (name,) = wait_until(lambda: [name for name in pods_of(kube, places[1]) if kernel_id in name], START_S, "the pod")
    return kube.get("Pod", name, places[1])


def test_an_export_that_squashes_root(start, server, connect):
    """Directories are made there by the user's own uid, with a group that may: so no process of root's has to write."""
    flags = ("--home-server", ADDRESS, "--home-export", "/squash", "--home-path", "{user}")
    gateway = start(*flags, "--home-parent-gid", str(WRITERS_GID))
    cell = connect(gateway, gateway.start_kernel("python3")["id"]).run_cell(f"{IDS}\nopen('mine.txt', 'w').write('x')")
    assert cell.text() == "1001 /home/jovyan /home/jovyan\n", cell.everything()
    assert server.owner_of("squash/alice") == (1001, 1001, 0o700) and server.owner_of("squash/alice/mine.txt")[0] == 1001
    gateway = start(*flags)
    gateway.token = "bob"
    model = gateway.wait_for_state(gateway.start_kernel("python3")["id"], "dead", timeout=START_S)
    assert "does not let root make /squash/bob" in model["message"] and not (server.folder / "squash" / "bob").exists()


def test_shared_directories_and_another_mount(start, share, connect, kube, places):
    """What is told of it beforehand is what the pods have."""
    (share[0] / "projects" / "x").mkdir(parents=True)
    (share[0] / "projects" / "x").chmod(0o777)
    gateway = start("--home-mount", "/work/me", "--home-extra", "data:/datasets,projects/x:/projects/x:rw")
    first = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": "/home/jovyan"})["id"]
    told = explain(gateway, "python3", {"KERNEL_WORKING_DIR": "/home/jovyan"}, user="alice")
    gateway.token = "bob"
    second = gateway.start_kernel("python3")["id"]
    gateway.token = "alice"
    alice = connect(gateway, first)
    cell = alice.run_cell(f"{IDS}\nopen('/projects/x/note.txt', 'w').write('from alice')\nprint(open('/datasets/table.csv').read().strip())\n"
                          "try: open('/datasets/new', 'w')\nexcept OSError: print('read-only')")
    assert cell.text() == "1001 /work/me /work/me\n1,2\nread-only\n", cell.everything()
    gateway.token = "bob"
    cell = connect(gateway, second).run_cell(f"{IDS}\nprint(open('/projects/x/note.txt').read())\nopen('/projects/x/answer', 'w').close()")
    assert cell.text() == "1002 /work/me /work/me\nfrom alice\n", cell.everything()
    assert (share[0] / "projects" / "x" / "note.txt").stat().st_uid == 1001
    assert (share[0] / "projects" / "x" / "answer").stat().st_uid == 1002 and not (share[0] / "data" / "new").exists()
    assert_foretold(told["pod"], pod_of(kube, places, first))
    assert field(told, "spec.volumes[elara-home].nfs.path") == (f"{share[1]}/all/alice", "settings home-export, home-path", "")


@pytest.mark.parametrize("scheme, directory, refused", [
    ("raw", "Ann.Lee", {"../data": "it has a slash", "..": "it begins with a dot"}),
    ("hub", "-41nn-2e-4cee", {}), ("safe-slug", "ann-lee---5a9a93ab", {})])
def test_names_are_written_as_the_setting_says(start_gateway, share, cluster, kube, places, scheme, directory, refused):
    gateway = start_gateway("--home-server", cluster.nfs_server, "--home-export", share[1], "--home-path", "all/{user}",
                            "--home-user-names", scheme, "--home-trust-claimed-names", "--home-uids", '{"Ann.Lee": "1001"}')
    kernel_id = gateway.start_kernel("python3", env={"KERNEL_USERNAME": "Ann.Lee"})["id"]
    spec = pod_of(kube, places, kernel_id)["spec"]
    assert [volume["nfs"]["path"] for volume in spec["volumes"] if "nfs" in volume] == [f"{share[1]}/all/{directory}"]
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 1001
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    for name, told in refused.items():
        answer = gateway.post("/api/kernels", json={"name": "python3", "env": {"KERNEL_USERNAME": name}})
        assert answer.status_code == 400 and told in answer.json()["message"], answer.text
    assert [one.name for one in (share[0] / "all").iterdir()] == [directory] and (share[0] / "all" / directory).stat().st_uid == 1001


def test_links_on_the_share(start, share, connect, kube, places):
    """In the place of a shared directory they are refused. In a home they lead to nothing that is not in the pod."""
    for path in ("all/alice", "all/bob", "data/deep"):
        (share[0] / path).mkdir()
        os.chown(share[0] / path, 1001, 1001)  # one uid for all: it is not the modes of files that keep them apart here
    (share[0] / "all" / "bob" / "secret.txt").write_text("bob's")
    (share[0] / "all" / "alice" / "out").symlink_to("../bob")
    (share[0] / "data" / "deep" / "out").symlink_to("../../all/bob")
    shared = share[0] / "projects"
    gateway = start("--home-extra", "data:/data,projects/x:/projects/x:rw")
    kernel_id = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": "/home/jovyan/out"})["id"]

    def wait_for_refusal(sentence):
        def is_told():
            model = gateway.model(kernel_id)
            return model["execution_state"] == "dead" and sentence in model.get("message", "") and model["reason"] == "HomeFailed"
        wait_until(is_told, START_S, sentence)
        assert not [name for name in pods_of(kube, places[1]) if kernel_id in name]

    wait_for_refusal(f"here is no {share[1]}/projects on the NFS server")
    for place, target in ((shared, "all"), (shared / "x", "../all/bob")):
        if shared.is_symlink():
            shared.unlink()
            shared.mkdir()
        place.symlink_to(target)
        assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
        wait_for_refusal(f"{share[1]}/{place.relative_to(share[0])} on the NFS server")
        assert "is a symbolic link, which is not followed" in gateway.model(kernel_id)["message"]
    (shared / "x").unlink()
    (shared / "x").mkdir()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    cell = connect(gateway, kernel_id).run_cell(
        "import os\nprint(os.getcwd(), os.listdir('/projects/x'))\n"
        "print(*(os.path.exists(path + '/secret.txt') for path in ('.', 'out', '/data/deep/out')))")
    assert cell.text() == "/home/jovyan []\nFalse False False\n", cell.everything()
