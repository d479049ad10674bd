"""jupyter_kernel_test, the kernel authors' suite, with jupyter_server's gateway manager in place of the local one."""
import asyncio
import inspect

import jupyter_kernel_test
import pytest


class Blocking:
    """The suite calls a blocking manager, client and channels; jupyter_server's gateway classes are asynchronous."""

    def __init__(self, inner, loop):
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if name.endswith("_channel"):
            return Blocking(value, self._loop)
        if not callable(value):
            return value

        def call(*arguments, **options):
            result = value(*arguments, **options)
            return self._loop.run_until_complete(result) if inspect.isawaitable(result) else result

        return call


def start(kernel_name):
    """What jupyter_client's start_new_kernel gives: a manager and a client that is ready."""
    from jupyter_server.gateway.managers import GatewayKernelManager
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    manager = GatewayKernelManager(kernel_name=kernel_name)
    loop.run_until_complete(manager.start_kernel(kernel_name=kernel_name))
    client = Blocking(manager.client(), loop)
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return Blocking(manager, loop), client


@pytest.fixture(scope="module", autouse=True)
def gateway_client(shared_gateway_process):
    from jupyter_server.gateway.gateway_client import GatewayClient
    GatewayClient.clear_instance()
    GatewayClient.instance().url = shared_gateway_process.base
    yield
    GatewayClient.clear_instance()


class TestPythonKernel(jupyter_kernel_test.KernelTests):
    kernel_name = "python3"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n"]
    incomplete_code_samples = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('on purpose')"
    code_execute_result = [{"code": "1+2+3", "result": "6"}, {"code": "'a' * 3", "result": "'aaa'"}]
    code_display_data = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\\\frac{1}{2}'))", "mime": "text/latex"}]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    def history_helper(self, *arguments, **options):
        """In a range IPython calls its own session 0, whatever number it was asked for."""
        reply = super().history_helper(*arguments, **options)
        if options.get("hist_access_type") == "range":
            for entry in reply["content"]["history"]:
                entry[0] = entry[0] or options["session"]
        return reply

    @classmethod
    def setUpClass(cls):
        cls.km, cls.kc = start(cls.kernel_name)
        cls.kc.execute('pass')
        cls.kc.get_shell_msg(timeout=30)
