"""What of the machine the cluster needs and changes: says what is missing, puts back what it changed."""
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from pathlib import Path

from testcluster.layout import ADDRESS, BRIDGE, CGROUP, POD_NETWORK
from testcluster.processes import ClusterError, end, load_state, remember, start_time, wait_until

PROGRAMS = {"etcd": "etcd-server", "containerd": "containerd", "runc": "runc", "nft": "nftables", "ganesha.nfsd": "nfs-ganesha",
            "openssl": "openssl", "ip": "iproute2", "nsenter": "util-linux", "mmdebstrap": "mmdebstrap"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTROLLERS = ("cpu", "memory", "pids", "cpuset")
# The kubelet sets those of the kernel and of memory, the bridge plugin and the cluster those of the network.
SYSCTLS = ("kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxbytes", "kernel.keys.root_maxkeys",
           "vm.overcommit_memory", "vm.panic_on_oom", "net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet",
           "net.netfilter.nf_conntrack_max", "net.bridge.bridge-nf-call-iptables")


def die_with_parent():
    """For a child, before it becomes its program: it must not go on making things when this run is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run(*command):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(str(word) for word in command)}: {done.stdout.strip()}")
    return done.stdout


def works(*command):
    if not shutil.which(command[0]):
        return False
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def cgroup_roots():
    """The directories in which the cluster has a cgroup: one with cgroup v2, one for each controller with v1."""
    base = Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        return [base]
    return sorted({path.resolve() for path in base.glob("*/") if (path / "cgroup.procs").exists()})


def missing_controllers():
    base = Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        there = (base / "cgroup.controllers").read_text().split()
    else:
        there = [name for name in CONTROLLERS if (base / name / "cgroup.procs").exists()]
    return [name for name in CONTROLLERS if name not in there]


def can_write_cgroups():
    probe = cgroup_roots()[0] / f"{CGROUP}-probe"
    try:
        probe.mkdir(exist_ok=True)
        probe.rmdir()
    except OSError:
        return False
    return True


def limit():
    """Why no cluster can run on this machine, or None. What is only not installed is no limit."""
    if os.geteuid() != 0:
        return "not root"
    if os.uname().machine not in ("x86_64", "aarch64"):
        return f"no {os.uname().machine}: only amd64 and arm64"
    if "overlay" not in Path("/proc/filesystems").read_text() and not works("modprobe", "overlay"):
        return "the kernel has no overlay file system"
    if not cgroup_roots() or missing_controllers():
        return "no cgroup controller " + ", ".join(missing_controllers() or CONTROLLERS)
    if not can_write_cgroups():
        return "cgroups cannot be made"
    if not works("unshare", "--mount", "true"):
        return "no mount namespace can be made"
    if not works("ip", "link", "show", BRIDGE):
        if not works("ip", "link", "add", BRIDGE, "type", "bridge"):
            return "no network bridge can be made"
        works("ip", "link", "delete", BRIDGE)
    if shutil.which("nft", path=PATH) and not works("nft", "list", "tables"):
        return "the kernel has no nftables"
    return None


def check_installed():
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)]
    if not Path("/usr/lib/cni/bridge").exists():
        missing.append("containernetworking-plugins")
    if missing:
        raise ClusterError(f"not installed: {', '.join(missing)}; tools/packages cluster installs what the cluster needs")


def sysctl_path(name):
    return Path("/proc/sys") / name.replace(".", "/")


def record_sysctls():
    values = {}
    for name in SYSCTLS:
        with contextlib.suppress(OSError):
            values[name] = sysctl_path(name).read_text().strip()
    remember(sysctls=values)


def restore_sysctls():
    for name, value in load_state().get("sysctls", {}).items():
        with contextlib.suppress(OSError):
            if sysctl_path(name).read_text().strip() != value:
                sysctl_path(name).write_text(value)


def make_bridge():
    """Made here, not by the CNI plugin with the first pod: the API server listens on its address."""
    for route in run("ip", "route", "show", "root", POD_NETWORK).splitlines():
        if f"dev {BRIDGE} " not in route:
            raise ClusterError(f"the machine has a route for {POD_NETWORK} already: {route}")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{ADDRESS}/{POD_NETWORK.split('/')[1]}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    sysctl_path("net.ipv4.ip_forward").write_text("1")


def remove_bridge():
    works("ip", "link", "delete", BRIDGE)


def make_cgroups():
    for root in cgroup_roots():
        (root / CGROUP).mkdir(exist_ok=True)
        if root.parts[-1] == "cpuset":  # a cgroup v1 cpuset begins empty, and then takes no process
            for name in ("cpuset.cpus", "cpuset.mems"):
                (root / CGROUP / name).write_text((root / name).read_text())
    if (Path("/sys/fs/cgroup/cgroup.controllers")).exists():
        text = " ".join(f"+{name}" for name in CONTROLLERS)
        for folder in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup") / CGROUP):
            (folder / "cgroup.subtree_control").write_text(text)


def cgroup_folders():
    """All of the cluster's cgroups, the inner ones first."""
    for root in cgroup_roots():
        for folder, _, _ in os.walk(root / CGROUP, topdown=False):
            yield Path(folder)


def cgroup_processes():
    found = {}
    for folder in cgroup_folders():
        with contextlib.suppress(OSError):
            found |= {int(pid): start_time(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    return {pid: started for pid, started in found.items() if started is not None}


def remove_cgroups():
    """Ends what is left in them, and removes them."""
    end(cgroup_processes(), timeout_s=0)

    def try_once():
        left = []
        for folder in cgroup_folders():
            try:
                folder.rmdir()
            except OSError:
                left.append(folder)
        return not left

    wait_until(try_once, 10, "the end of the cluster's cgroups")
