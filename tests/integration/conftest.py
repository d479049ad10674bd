import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.client import Client  # noqa: E402
from support.kernelspecs import Specs  # noqa: E402
from support.processes import Gateway  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--elara-build", default=str(ROOT / "build"), help="build directory with the programs to test")
    parser.addoption("--image-builds", action="store_true", help="also build the image by its Containerfile: eight minutes, as root, with the packages of the group image-builds")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--image-builds"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("image_builds")])
        items[:] = [item for item in items if not item.get_closest_marker("image_builds")]


@pytest.fixture(scope="session")
def build(request):
    folder = Path(request.config.getoption("--elara-build")).resolve()
    for program in ("elara-gateway", "elara-launcher", "tests/stub_kernel"):
        if not (folder / program).exists():
            pytest.exit(f"{folder / program} is missing: build it first", returncode=2)
    return folder


def add_standard_specs(specs):
    specs.stub()
    specs.stub("stub-message", interrupt_mode="message", display_name="Stub with message interrupts")
    specs.python()
    return specs


@pytest.fixture
def specs(tmp_path, build):
    """A kernelspec directory of the test's own, with the standard specs."""
    return add_standard_specs(Specs(tmp_path / "kernels", build))


@pytest.fixture
def start_gateway(build, specs):
    """start_gateway(*flags, environment={...}) gives a gateway of the test's own; several may be started."""
    started = []

    def start(*arguments, environment=None, token=None, home=None, ready=True, prefix=()):
        environment = dict(environment or {})
        if token is not None:
            environment["ELARA_AUTH_TOKEN"] = token
        gateway = Gateway(build, specs, *arguments, environment=environment, home=home, prefix=prefix)
        gateway.token = token
        started.append(gateway)
        return gateway.start(wait=ready)

    yield start
    failures = []
    for gateway in reversed(started):
        gateway.print_logs()
        try:
            gateway.__exit__(None)
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def shared_gateway_process(build, tmp_path_factory):
    specs = add_standard_specs(Specs(tmp_path_factory.mktemp("shared") / "kernels", build))
    with Gateway(build, specs) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway_process):
    """The gateway that most tests share. It must survive each of them, and have nothing to report."""
    shared = shared_gateway_process
    if shared.process.poll() is not None:  # an earlier test killed it: that one failed, not this
        shared.port = None
        shared.start()
    yield shared
    assert shared.process.poll() is None, f"the gateway died:\n{shared.log()[-4000:]}"
    shared.check()


@pytest.fixture
def kernel(gateway):
    """The id of a stub kernel on the shared gateway."""
    with gateway.kernel() as kernel_id:
        yield kernel_id


@pytest.fixture
def connect():
    """connect(gateway, kernel_id, ...) opens a client that is closed after the test."""
    opened = []

    def open_client(*arguments, **options):
        opened.append(Client(*arguments, **options))
        return opened[-1]

    yield open_client
    for client in opened:
        try:
            client.close()
        except Exception:  # it may be gone already
            pass


@pytest.fixture
def client(gateway, kernel, connect):
    """A client on a stub kernel of the shared gateway."""
    return connect(gateway, kernel)


@pytest.fixture
def bystander(gateway, connect):
    """A second user's kernel and client: call it to see that it still works, and at once."""
    with gateway.kernel() as kernel_id:
        other = connect(gateway, kernel_id)
        numbers = itertools.count()

        def still_works():
            text = f"undisturbed {next(numbers)}"
            assert other.run_cell(f"print {text}", timeout=10).text() == text + "\n"

        still_works()
        yield still_works
        still_works()
