"""Starts and ends that a test can hold at any request, and kernels whose ids it chooses."""
import concurrent.futures
import threading
import uuid

import pytest

from kernels import START_S
from support.processes import wait_until
from testcluster.api_proxy import ApiProxy
from testcluster.hollow import TOLERATIONS

IMAGE = "registry.test/team/py:3"
GRACE = ("--kubernetes-sweep-grace", "1s")


@pytest.fixture
def stub(hollow, specs, build):
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
    return specs.add("stub", image=IMAGE, argv=argv, nodeSelector=hollow.selector, tolerations=TOLERATIONS)


@pytest.fixture
def proxy(tmp_path):
    with ApiProxy(tmp_path) as one:
        yield one


@pytest.fixture
def begin(stub):
    """begin(gateway) asks for a kernel with an id of our choice, without waiting for an answer, and gives the id."""
    threads = []

    def post(gateway, kernel_id):
        try:
            gateway.post("/api/kernels", json={"name": stub, "env": {"KERNEL_ID": kernel_id}}, timeout=120)
        except OSError:  # it was killed
            pass

    def begin_(gateway, kernel_id=None):
        kernel_id = kernel_id or str(uuid.uuid4())
        threads.append(threading.Thread(target=post, args=(gateway, kernel_id), daemon=True))
        threads[-1].start()
        return kernel_id

    yield begin_
    for thread in threads:
        thread.join(120)


@pytest.fixture
def end():
    """end(gateway, kernel_id) gives a future: what the DELETE was answered with, None if the gateway was killed before it answered."""
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        def delete(gateway, kernel_id):
            try:
                return gateway.delete(f"/api/kernels/{kernel_id}", timeout=120).status_code
            except OSError:
                return None

        yield lambda gateway, kernel_id: threads.submit(delete, gateway, kernel_id)


def wait_running(gateway, kernel_ids):
    for kernel_id in kernel_ids:
        wait_until(lambda id_=kernel_id: gateway.get(f"/api/kernels/{id_}").status_code == 200, START_S, "the kernel")
        gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
