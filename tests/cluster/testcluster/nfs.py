"""An NFS server of the tests' own, and what makes `mount -t nfs` work on a machine whose kernel has no NFS client."""
import os
from pathlib import Path

from testcluster import parts
from testcluster.control_plane import is_listening
from testcluster.layout import ADDRESS, HOME
from testcluster.machine import run, works
from testcluster.processes import ClusterError, load_state, pid_of, remember, start, wait_for_daemon

EXPORT = HOME / "nfs"  # what SHARE is on the server's side
SHARE = "/share"
KERNEL_CLIENT = "the operating system's kernel"
PORT = 2049  # a pod's nfs volume has no place for another one; the address is the cluster's own
HELPER = Path("/sbin/mount.nfs")
GANESHA = f"""
NFS_CORE_PARAM {{
    Protocols = 4;
    NFS_Port = {PORT};
    Bind_addr = {ADDRESS};
    Enable_NLM = false;
    Enable_RQUOTA = false;
}}
NFSv4 {{
    Graceless = true;
    Lease_Lifetime = 120;
    Only_Numeric_Owners = true;
    RecoveryRoot = "{HOME}/ganesha";
}}
EXPORT {{
    Export_Id = 1;
    Path = "{EXPORT}";
    Pseudo = "{SHARE}";
    Access_Type = RW;
    Squash = No_Root_Squash;
    SecType = sys;
    # Tests change the directory behind the server's back, and want to see it.
    Attr_Expiration_Time = 0;
    FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = WARN; }}
"""
# Where there is no FUSE either: the exported directory itself. Nothing of NFS is tested then.
BIND = f"""#!/bin/sh
source=${{1#*:{SHARE}}}
[ "$source" != "$1" ] || {{ echo "mount.nfs: $1: not an export of the test cluster" >&2; exit 32; }}
exec mount --bind "{EXPORT}$source" "$2"
"""


def start_ganesha():
    config = HOME / "ganesha.conf"
    config.write_text(GANESHA)
    EXPORT.mkdir()
    EXPORT.chmod(0o755)
    (HOME / "ganesha").mkdir()
    start("ganesha", "ganesha.nfsd", "-F", "-f", config, "-L", HOME / "logs" / "ganesha.log", "-p", HOME / "ganesha.pid")
    wait_for_daemon("ganesha", lambda: is_listening(ADDRESS, PORT), 60, "the NFS server's port")


def install_helper():
    """Says who mounts NFS in the cluster's mount namespace: the kernel, or a program bound over mount.nfs there."""
    if "\tnfs4\n" in Path("/proc/filesystems").read_text() or works("modprobe", "nfs"):
        client = KERNEL_CLIENT
    elif os.path.exists("/dev/fuse"):
        client = "FUSE with libnfs"
        bind_helper(parts.mount_helper())
    else:
        client = "bind mounts of the exported directory, as there is neither an NFS client nor FUSE"
        program = HOME / "mount-bind"
        program.write_text(BIND)
        program.chmod(0o755)
        bind_helper(program)
    remember(nfs_client=client)


def bind_helper(program):
    if not HELPER.exists():
        raise ClusterError(f"no {HELPER} to bind a helper over; tools/packages cluster installs it")
    run("nsenter", f"--mount=/proc/{pid_of('namespace')}/ns/mnt", "mount", "--bind", program, HELPER)


def mount(source, place):
    """Mounts SERVER:/PATH of the test cluster for processes of this machine, by the means that the node has."""
    if load_state()["nfs_client"] == KERNEL_CLIENT:
        run("mount", "-t", "nfs4", source, place)
    elif os.path.exists("/dev/fuse"):
        run(parts.mount_helper(), source, place)
    else:
        run("mount", "--bind", f"{EXPORT}{source.split(f':{SHARE}', 1)[1]}", place)
