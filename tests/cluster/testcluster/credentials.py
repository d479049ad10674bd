"""Keys, certificates, tokens and kubeconfigs of the cluster's own parts and of the tests' administrator."""
import json
import secrets

from testcluster.layout import ADDRESS, API_SERVICE, KUBECONFIG, NODE, SECRETS, SERVER
from testcluster.machine import run

# user: groups. Each has a token and a kubeconfig of its own, so that the audit log tells them apart.
USERS = {
    "admin": ["system:masters"],
    "hollow": ["system:masters"],
    "coredns": ["system:masters"],
    "system:kube-controller-manager": [],
    "system:kube-scheduler": [],
    "system:kube-proxy": [],
    f"system:node:{NODE}": ["system:nodes"],
}
NAMES = f"IP:{ADDRESS},IP:{API_SERVICE},IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"


def certificate(name, subject, *extensions):
    """A key and a certificate, signed by the cluster's CA, which signs itself. Valid since a day: a test's clock may be behind."""
    signer = [] if name == "ca" else ["-CA", SECRETS / "ca.crt", "-CAkey", SECRETS / "ca.key"]
    options = [word for extension in extensions for word in ("-addext", extension)]
    run("faketime", "1 day ago", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
        "-subj", subject, "-keyout", SECRETS / f"{name}.key", "-out", SECRETS / f"{name}.crt", *signer, *options)


def kubeconfig(path, user, server=SERVER, ca=SECRETS / "ca.crt", namespace="default"):
    """Writes a kubeconfig (JSON, which is YAML) for a user entry such as {"token": ...}."""
    cluster = {"server": server, "certificate-authority": str(ca)}
    context = {"cluster": "test", "user": "user", "namespace": namespace}
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "test", "context": context}],
    }, indent=1))
    return path


def kubeconfig_of(user):
    """The path of the kubeconfig of one of USERS."""
    return KUBECONFIG if user == "admin" else SECRETS / f"{user.split(':')[1] if ':' in user else user}.kubeconfig"


def make_credentials():
    SECRETS.mkdir(mode=0o700)
    certificate("ca", "/CN=elara-test-cluster", "keyUsage=critical,keyCertSign,cRLSign")
    certificate("apiserver", "/CN=kube-apiserver", f"subjectAltName={NAMES}", "basicConstraints=critical,CA:FALSE")
    client = ("extendedKeyUsage=clientAuth", "basicConstraints=critical,CA:FALSE")
    certificate("admin", "/O=system:masters/CN=admin", *client)
    certificate("apiserver-kubelet", "/CN=apiserver", *client)
    run("openssl", "genrsa", "-out", SECRETS / "service-account.key", "2048")
    lines = []
    for number, (user, groups) in enumerate(USERS.items()):
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{number},"{",".join(groups)}"\n')
        kubeconfig(kubeconfig_of(user), {"token": token})
    (SECRETS / "tokens.csv").write_text("".join(lines))
    kubeconfig(SECRETS / "admin-certificate.kubeconfig",
               {"client-certificate": str(SECRETS / "admin.crt"), "client-key": str(SECRETS / "admin.key")})
