"""A gateway whose wall clock is wrong: what stands in the cluster's objects has the API server's times, and is judged by its clock."""
import pytest

from kernels import *  # noqa: F403
from kernels import START_S


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_an_hour_makes_no_pod_older(start_gateway, connect, specs, kube, build, places, tmp_path, ahead_s):
    """With one too many, a pod that waits for a node would be given up at once; the other replica's clock is right."""
    specs.add("nowhere", nodeSelector={"elara.test/no": "node"})
    (tmp_path / "shift").write_text(str(ahead_s))
    wrong = start_gateway(environment={"LD_PRELOAD": str(build / "tests" / "clock_shift.so"), "CLOCK_SHIFT_FILE": str(tmp_path / "shift")})
    right = start_gateway()
    waiting = wrong.start_kernel("nowhere")["id"]
    kube.wait_event(places[1], f"kernel-{waiting}-1", "FailedScheduling", START_S)
    kernel_id = wrong.start_kernel("python3")["id"]
    for gateway in (wrong, right):
        assert connect(gateway, kernel_id).run_cell("print(6 * 7)").text() == "42\n"
    for gateway in (wrong, right):
        assert gateway.model(waiting)["execution_state"] == "starting", gateway.model(waiting)
    assert right.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert wrong.get(f"/api/kernels/{kernel_id}").status_code == 404
