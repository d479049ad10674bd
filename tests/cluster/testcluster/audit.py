"""What a ServiceAccount asks the API server, by its audit log."""
import json

from testcluster.control_plane import AUDIT_LOG

RBAC = "rbac.authorization.k8s.io"


class Account:
    """The ServiceAccount "default" of the first namespace, with all rights in all of them; `kubeconfig` is written for it."""

    def __init__(self, kube, namespaces, kubeconfig):
        self.user = f"system:serviceaccount:{namespaces[0]}:default"
        self.kubeconfig = kubeconfig
        subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespaces[0]}
        for namespace in namespaces:
            kube.create({"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "all-rights"}, "subjects": [subject],
                         "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}}, namespace)
        kube.service_account(namespaces[0], "default", kubeconfig)
        self.forget()

    def forget(self):
        """What was asked so far."""
        self.offset = AUDIT_LOG.stat().st_size

    def asked(self):
        """"verb resource" of each request since then, the last one possibly missing. A watch counts when it begins."""
        with AUDIT_LOG.open() as log:
            log.seek(self.offset)
            events = [json.loads(line) for line in log if self.user in line and line.endswith("\n")]
        return [f"{event['verb']} {event['objectRef']['resource']}" for event in events
                if event["user"]["username"] == self.user
                and event["stage"] == ("ResponseStarted" if event["verb"] == "watch" else "ResponseComplete")]
