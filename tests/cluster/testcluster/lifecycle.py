"""The cluster goes up and down."""
import concurrent.futures
import contextlib
import json
import os
import shutil
import time
from pathlib import Path

from testcluster import control_plane, images, lab_image, machine, nfs, node, parts
from testcluster.cache import cache_directory, locked, say
from testcluster.credentials import make_credentials
from testcluster.layout import HOME, KUBECONFIG, NODE, STATE
from testcluster.processes import (ClusterError, end, in_mount_namespace, is_running, load_state, remember, start, start_again, stop,
                                   wait_for_daemon)

DAEMONS = ("namespace", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet",
           "kube-proxy", "coredns", "ganesha")
WATCHERS = ("kube-controller-manager", "kube-scheduler", "kubelet")
# What the daemons write at places of their own choosing is, in their mount namespace, below HOME.
COVERED = {"/run": "run", "/var/log": "var-log"}
CNI_STATE = Path("/var/lib/cni")


def lock():
    """One goes up or down at a time."""
    return locked(cache_directory() / "cluster.lock")


def make_parts():
    """Everything that is made once for a machine; minutes on a fresh one."""
    parts.kubernetes()
    parts.mount_helper()
    parts.hollow_node()
    parts.coredns()
    return images.archives() | {lab_image.LAB: lab_image.archive()}


def start_namespace():
    """A mount namespace for the daemons: what is mounted there goes with its last process, however that ends."""
    pid = start("namespace", "unshare", "--mount", "--propagation", "private", "sleep", "infinity", inside=False)
    ours = os.stat("/proc/self/ns/mnt").st_ino
    program = Path(f"/proc/{pid}/comm")
    wait_for_daemon("namespace", lambda: program.read_text() == "sleep\n", 10, "the mount namespace")
    inode = os.stat(f"/proc/{pid}/ns/mnt").st_ino
    if inode == ours:
        raise ClusterError("the daemons have no mount namespace of their own")
    remember(mount_namespace=inode)
    enter = ("nsenter", f"--mount=/proc/{pid}/ns/mnt")
    machine.run(*enter, "mount", "--make-rshared", "/")  # among the cluster's own processes
    for place, name in COVERED.items():
        (HOME / name).mkdir()
        machine.run(*enter, "mount", "--bind", HOME / name, place)


def is_up():
    return all(is_running(name) for name in DAEMONS) and control_plane.is_ready()


def up():
    """Starts a cluster when none is running, after cleaning up what an aborted run has left."""
    why_not = machine.limit()
    if why_not:
        raise ClusterError(f"machine limit: {why_not}")
    machine.check_installed()
    archives = make_parts()
    with lock():
        if is_up():
            return
        clean()
        started = time.monotonic()
        try:
            bring_up(archives)
        except BaseException:
            keep_logs()
            clean()
            raise
        say(f"The cluster is up after {time.monotonic() - started:.1f} s. NFS is mounted by {load_state()['nfs_client']}.")


def restart(names):
    """
    Ends daemons and starts them as they were started; returns when the API server answers. The API server's own
    clients start anew with it: after several restarts their watches wait for up to a minute (client-go's backoff).
    """
    for name in names:
        if name not in DAEMONS:
            raise ClusterError(f"no daemon {name}; there are {', '.join(DAEMONS)}")
        start_anew(name)
    wait_for_daemon("kube-apiserver", control_plane.is_ready, 120, "the API server's /readyz")
    if "kube-apiserver" in names:
        for name in WATCHERS:
            start_anew(name)


def start_anew(name):
    stop(name)
    start_again(name)


def keep_logs():
    """Of a cluster that did not come up."""
    place = cache_directory() / "cluster-failed-logs"
    shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        shutil.copytree(HOME / "logs", place)
        say(f"The logs of the cluster that did not come up are in {place}")


def bring_up(archives):
    HOME.mkdir(mode=0o700)
    remember(made_cni_state=not CNI_STATE.exists())
    machine.record_sysctls()
    make_credentials()
    machine.make_bridge()
    machine.make_cgroups()
    start_namespace()
    nfs.install_helper()
    node.start_containerd()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        imported = pool.submit(lambda: [node.import_image(archive) for archive in archives.values()])
        nfs.start_ganesha()
        control_plane.start_apiserver(control_plane.start_etcd())
        control_plane.start_controllers()
        node.start_kubelet()
        node.start_proxy()
        node.start_dns()
        node.wait_for_node()
        imported.result()
    remember(is_complete=True)


def down():
    with lock():
        clean()


def clean():
    """Ends and removes all that a run left, also one that was killed at any point."""
    state = load_state()
    if state or HOME.exists():
        stop("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager")
        end_inside(state)
        stop(*DAEMONS)
        if "kube-proxy" in state.get("processes", {}):
            node.clean_proxy()
    machine.remove_cgroups()
    machine.remove_bridge()
    machine.restore_sysctls()
    if state.get("made_cni_state"):
        shutil.rmtree(CNI_STATE, ignore_errors=True)
    remove_home()


def end_inside(state):
    """The containers, their shims, and all else that runs in the daemons' mount namespace."""
    end(machine.cgroup_processes(), timeout_s=0)
    inode = state.get("mount_namespace")
    if inode and inode != os.stat("/proc/self/ns/mnt").st_ino:
        end(in_mount_namespace(inode), timeout_s=5)


def remove_home():
    """The state goes last: as long as it is there, another try finds what to clean."""
    if not HOME.exists():
        return
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [place for place in mounted if place.startswith(f"{HOME}/")]
    if inside:
        raise ClusterError(f"still mounted: {', '.join(inside)}")
    for path in HOME.iterdir():
        if path != STATE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(HOME)


def status():
    """A line for each daemon; returns whether all is well."""
    for name in DAEMONS:
        print(f"{name:24} {'runs' if is_running(name) else 'does not run'}")
    if not is_up():
        print("the cluster is not up")
        return False
    code, body = control_plane.ask(f"/api/v1/nodes/{NODE}")
    conditions = {one["type"]: one["status"] for one in json.loads(body)["status"]["conditions"]} if code == 200 else {}
    print(f"node {NODE}: Ready {conditions.get('Ready')}\nKUBECONFIG={KUBECONFIG}\nNFS is mounted by {load_state()['nfs_client']}")
    return True
