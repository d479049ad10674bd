"""Simulated launchers (tests/tools/launcher_swarm.c), which a gateway adopts as it adopts real ones."""
import json
import subprocess
from pathlib import Path


class Swarm:
    """`count` kernels in a gateway's runtime directory, owned in turn by the owners. Use it as a context manager around the gateways."""

    def __init__(self, build, runtime, count, owners=()):
        self.runtime = Path(runtime)
        self.process = subprocess.Popen([Path(build) / "tests" / "launcher_swarm", self.runtime, str(count), *owners],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n", "the swarm did not start"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def records(self):
        """What the kernels' directories say: id to record."""
        records = [json.loads(path.read_text()) for path in self.runtime.glob("kernels/*/record.json")]
        return {record["kernel_id"]: record for record in records}
