"""Pods' templates on a file server that hangs: starts are refused or wait, kernels that run do not notice."""
import json
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from kernels import *  # noqa: F403
from kernels import START_S, make_gateway, pods_of
from support.hanging_mount import mounted  # noqa: F401 - a fixture
from support.processes import wait_until

DEADLINE_S = 10  # BACKGROUND_DEADLINE_MS


def start(gateway, **env):
    return gateway.request("POST", "/api/kernels", json={"name": "python3", "env": env}, timeout=START_S)


def test_a_start_waits_for_its_template_and_nobody_else_does(build, cluster, kube, specs, places, launcher_image, mounted, connect):  # noqa: F811
    mount = mounted(specs.directory)
    with make_gateway(build, mount.place, places, launcher_image, cluster.kubeconfig) as gateway, ThreadPoolExecutor() as others:
        kernel_id = gateway.start_kernel("python3")["id"]
        client = connect(gateway, kernel_id)
        client.run_cell("kept = 41")
        pod = json.loads((specs.directory / "python3" / "pod.json").read_text())
        pod["metadata"]["labels"]["color"] = "green"
        (specs.directory / "python3" / "pod.json").write_text(json.dumps(pod))

        mount.freeze()
        refused = others.submit(start, gateway)
        wait_until(mount.is_awaited)
        for path in ("/healthz", "/readyz"):
            assert requests.get(gateway.base + path, timeout=2).status_code == 200
        assert client.run_cell("print(kept + 1)").text() == "42\n"
        assert len(gateway.get("/api/kernels").json()) == 1  # nobody was told of the other one
        answer = refused.result()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        told = answer.json()
        assert told["reason"] == "KernelspecsSilent"
        assert told["message"].startswith(f"The directory {mount.place} does not answer. ")
        began = time.monotonic()
        assert start(gateway, KERNEL_WORKING_DIR=str(mount.place / "python3")).status_code == 503
        assert time.monotonic() - began < DEADLINE_S / 2  # at once: it is known to be silent
        assert pods_of(kube, places[1]) == [f"kernel-{kernel_id}-1"]
        lost = client.send_execute("import time; time.sleep(600)")
        gateway.wait_for_state(kernel_id, "busy")
        kube.delete("Pod", f"kernel-{kernel_id}-1", places[1], grace_s=0)
        client.collect(lost)
        wait_until(lambda: not pods_of(kube, places[1]), START_S)
        waiting = client.send_execute("print('kept' in globals())")
        mount.thaw()
        assert client.collect(waiting).text().endswith("False\n")  # started anew when it could be

        wait_until(lambda: gateway.get("/kernelspecs/python3/logo-64x64.png").status_code == 200)
        mount.freeze()
        late = others.submit(start, gateway)
        wait_until(mount.is_awaited)
        mount.thaw()
        answer = late.result()
        assert answer.status_code == 201
        assert connect(gateway, answer.json()["id"]).run_cell("print('up')").text() == "up\n"
        assert [pod["metadata"]["labels"].get("color") for pod in kube.list("Pod", places[1])].count("green") == 2  # as it reads now

