"""Kernelspecs on a file server that hangs: only what is there waits, and nothing for ever."""
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from support.hanging_mount import mounted  # noqa: F401 - a fixture
from support.kernelspecs import PIXEL
from support.processes import Gateway, wait_until

LOGO = "/kernelspecs/stub/logo-64x64.png"
DEADLINE_S = 10  # BACKGROUND_DEADLINE_MS
END_S = 10


@pytest.fixture
def mount(mounted, specs):  # noqa: F811
    return mounted(specs.directory)


@pytest.fixture
def gateway(build, mount):
    with Gateway(build, mount.place) as gateway:
        yield gateway
        gateway.print_logs()
        mount.thaw()


def display_name(gateway):
    return gateway.get("/api/kernelspecs").json()["kernelspecs"]["stub"]["spec"]["display_name"]


def check_that_all_else_works(gateway, client):
    for path in ("/healthz", "/readyz"):
        assert requests.get(gateway.base + path, timeout=2).status_code == 200
    assert client.run_cell("print still here").text() == "still here\n"


def test_what_another_machine_writes_is_seen_without_being_told(build, mount, specs):
    with Gateway(build, mount.place, "--kernelspecs-interval", "100ms") as gateway:
        specs.stub(display_name="Changed")
        wait_until(lambda: display_name(gateway) == "Changed")
        assert gateway.log().count("stub changed") == 1


def test_a_server_that_hangs_holds_up_nobody_else(gateway, mount, specs, connect):
    assert gateway.get(LOGO).content == PIXEL
    with gateway.kernel() as kernel_id, ThreadPoolExecutor() as others:
        client = connect(gateway, kernel_id)
        specs.stub(display_name="Changed")
        mount.freeze()
        gateway.process.send_signal(signal.SIGHUP)  # reads all kernelspecs
        wait_until(mount.is_awaited)
        logo = others.submit(gateway.get, LOGO, timeout=3 * DEADLINE_S)
        check_that_all_else_works(gateway, client)
        with gateway.kernel() as another:  # of a kernelspec that is known
            assert connect(gateway, another).run_cell("print new").text() == "new\n"
        assert display_name(gateway) == "Stub"
        refused = logo.result()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["message"] == f"The directory {mount.place} does not answer"
        again = gateway.get(LOGO, timeout=DEADLINE_S / 2)  # at once
        assert again.status_code == 503
        wait_until(lambda: "a directory of kernelspecs does not answer" in gateway.log())
        check_that_all_else_works(gateway, client)
        mount.thaw()
        wait_until(lambda: gateway.get(LOGO).status_code == 200)
        wait_until(lambda: display_name(gateway) == "Changed")


def test_a_gateway_ends_while_a_server_hangs(gateway, mount):
    mount.freeze()
    gateway.process.send_signal(signal.SIGHUP)
    with ThreadPoolExecutor() as others:
        logo = others.submit(gateway.get, LOGO, timeout=3 * DEADLINE_S)
        wait_until(mount.is_awaited)
        gateway.process.terminate()
        assert gateway.process.wait(END_S) == 0
        with pytest.raises(requests.ConnectionError):
            logo.result()


def test_changes_are_seen_after_many_loads(start_gateway, specs):
    """Each load has a watch of its own, and the one before it goes."""
    gateway = start_gateway()
    for number in range(5):
        specs.stub(display_name=f"Stub {number}")
        wait_until(lambda: display_name(gateway) == f"Stub {number}")  # noqa: B023
