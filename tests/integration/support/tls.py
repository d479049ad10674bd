"""A gateway that speaks TLS, and the authority of its certificates."""
import subprocess

import requests

from support.processes import Gateway


class TlsGateway(Gateway):
    """Over TLS. cert: the files of the client who asks."""

    cert, ca = None, None

    @property
    def base(self):
        return f"https://127.0.0.1:{self.port}"

    def request(self, method, path, **options):
        return requests.request(method, self.base + path, timeout=30, verify=self.ca, cert=options.pop("cert", self.cert), **options)

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        try:
            return self.get("/readyz").status_code == 200
        except requests.ConnectionError:
            return False


class Authority:
    """A certificate authority of the lab; make() gives the files of a certificate and its key."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.file = str(folder / "ca.pem")
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=lab",
                 "-keyout", "ca.key", "-out", "ca.pem")

    def run(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30, cwd=self.folder)

    def make(self, name, *extensions, issuer="ca", key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        (self.folder / "ext").write_text("\n".join(extensions))
        self.run("req", "-newkey", *key, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request")
        self.run("x509", "-req", "-in", "request", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial", "-days", "2",
                 "-extfile", "ext", "-out", f"{name}.pem")
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")
