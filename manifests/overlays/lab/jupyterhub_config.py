# The hub itself. What its users' servers need for Elara is in elara.py, of manifests/jupyterhub.
import secrets
from pathlib import Path

c = get_config()  # noqa: F821
load_subconfig("/etc/jupyterhub/elara.py")  # noqa: F821

# Who may come in. The hub makes one password for all of them: with it anybody is alice. It is for
# a trial; then take an authenticator that knows people.
password = Path("password")
password.touch(mode=0o600)
password.write_text(password.read_text() or secrets.token_urlsafe())
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = password.read_text()
c.Authenticator.allowed_users = {"alice", "bob"}

# The proxy is the pod's other container.
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8001"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.cleanup_servers = False  # servers outlive the hub

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.image = "quay.io/jupyterhub/k8s-singleuser-sample:4.4.0"
c.KubeSpawner.notebook_dir = "/home/jovyan"
c.KubeSpawner.default_url = "/lab"
# An image may have to be pulled, and a node be busy.
c.KubeSpawner.start_timeout = c.KubeSpawner.http_timeout = 300
c.KubeSpawner.pod_security_context = {
    "runAsNonRoot": True,
    "fsGroup": 100,
    "seccompProfile": {"type": "RuntimeDefault"},
}
c.KubeSpawner.container_security_context = {"capabilities": {"drop": ["ALL"]}}
