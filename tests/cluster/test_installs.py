"""Installations that share a cluster, down to the namespaces and a kernel's id."""
import uuid

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from support.processes import wait_until


def test_installs_that_share_their_namespaces_do_not_touch_each_others_kernels(start_gateway, connect, kube, places):
    ours = start_gateway()
    theirs = start_gateway("--kubernetes-install", "theirs")
    kernel_id = str(uuid.uuid4())
    for gateway in (ours, theirs):
        assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 404
        assert gateway.start_kernel("python3", env={"KERNEL_ID": kernel_id})["id"] == kernel_id
    assert connect(ours, kernel_id).run_cell("whose = 'ours'; print(whose)").text() == "ours\n"
    client = connect(theirs, kernel_id)
    assert client.run_cell("print('whose' in globals()); whose = 'theirs'").text() == "False\n"
    assert len(pods_of(kube, places[1])) == 2
    assert ours.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: len(pods_of(kube, places[1])) == 1, START_S, "the end of the one pod")
    wait_until(lambda: len(kube.list("Secret", places[1])) == 1, START_S, "the end of its Secret")
    assert client.run_cell("print(whose)").text() == "theirs\n"
    assert [model["id"] for model in theirs.get("/api/kernels").json()] == [kernel_id]
    assert ours.get("/api/kernels").json() == []

