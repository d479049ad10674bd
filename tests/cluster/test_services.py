"""Services, as pods and the host reach them: by the names of the cluster's DNS, and by their addresses."""
import json

import requests

from testcluster.images import IPYKERNEL
from testcluster.layout import DOMAIN
from testcluster.pods import has_ended, is_running, pod
from testcluster.processes import wait_until

PAGE = "it answers\n"
SERVER = f"printf '{PAGE}' >/tmp/index.html && exec httpd -f -p 8080 -h /tmp"
# What each URL answers, or what keeps it from that. Not with busybox: static programs of glibc ask no DNS.
CLIENT = """
import json, sys, urllib.error, urllib.request

def get(url):
    try:
        return urllib.request.urlopen(url, timeout=5).read().decode()
    except urllib.error.URLError as error:
        return str(error.reason)

print(json.dumps([get(url) for url in sys.argv[1:]]))
"""


def make_service(kube, namespace):
    """A Service "web" on port 80, whose pod listens on another; returns its address, at which it answers."""
    server = pod("web", "sh", "-c", SERVER)
    server["metadata"]["labels"] = {"app": "web"}
    kube.create(server, namespace)
    service = kube.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                           "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}, namespace)
    kube.wait_for("Pod", "web", namespace, is_running)
    address = service["spec"]["clusterIP"]
    wait_until(lambda: answers(f"http://{address}/"), 60, "the Service's answer")
    return address


def answers(url):
    try:
        return requests.get(url, timeout=5).text == PAGE
    except requests.ConnectionError:  # kube-proxy does not know the pod yet
        return False


def test_services_have_names_and_addresses(kube, make_namespace):
    theirs, ours = make_namespace(), make_namespace()
    address = make_service(kube, theirs)
    hosts = [f"web.{theirs}", f"web.{theirs}.svc", f"web.{theirs}.svc.{DOMAIN}", address, "web", "elara.example"]
    kube.create(pod("client", "python3", "-c", CLIENT, *(f"http://{host}/" for host in hosts), image=IPYKERNEL), ours)
    kube.wait_for("Pod", "client", ours, has_ended)
    told = json.loads(kube.logs("client", ours))
    assert told == [PAGE] * 4 + ["[Errno -2] Name or service not known"] * 2, told
