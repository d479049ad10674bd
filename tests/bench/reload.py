"""Settings read again while a gateway serves thousands of kernels: for how long nothing else is done."""
import re
import signal
import statistics
import tempfile
from pathlib import Path

from scale import KERNELS, SwarmGateway
from support.processes import wait_until

RELOADS = 30
READ = re.compile(r"settings have been read again in ([0-9.]+) ms")


def bench_reload(options, elara, jeg, table):
    with tempfile.TemporaryDirectory(prefix="bench-specs-", dir="/tmp") as folder:
        config = Path(folder) / "elara.yaml"
        config.write_text("max_kernels: 10000\n")
        gateway = SwarmGateway(options.build, KERNELS, Path(folder) / "specs")
        gateway.arguments = ["--config", str(config)]
        with gateway:
            if len(gateway.kernels()) != KERNELS:
                raise SystemExit(f"not all of the {KERNELS} kernels were adopted")
            for count in range(1, RELOADS + 1):
                config.write_text("".join(f"{key}\n" for key in (
                    f"max_kernels: {10000 + count}", f"failed_retention: {count}h", f"body_limit: {count}M",
                    f"cull_overrides: {{owners: {{ann: {{idle_timeout: {count}d}}}}}}")))
                gateway.process.send_signal(signal.SIGHUP)
                wait_until(lambda: len(READ.findall(gateway.log())) >= count, 30, "the settings")
            found = sorted(float(text) for text in READ.findall(gateway.log()))
            table.add(f"{KERNELS:,} kernels: settings read again", f"{statistics.median(found):.1f} ms",
                      f"{found[0]:.1f} to {found[-1]:.1f} ms", "", "< 50 ms")
