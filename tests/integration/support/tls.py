"""A gateway that speaks TLS, and the authority of its certificates."""
import subprocess
from datetime import datetime, timedelta, timezone

import requests

from support.processes import Gateway

SHORT = """[ca]
default_ca = lab
[lab]
database = index
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
rand_serial = yes
policy = names
[names]
commonName = supplied
"""


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

    def make_short(self, name, seconds):
        """One that ends so soon, with the key of an earlier one of that name."""
        self.run("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", "request")
        (self.folder / "index").write_text("")
        (self.folder / "config").write_text(SHORT)
        end = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        self.run("ca", "-batch", "-notext", "-config", "config", "-in", "request", "-out", f"{name}-short.pem", "-enddate", f"{end:%Y%m%d%H%M%SZ}")
        return str(self.folder / f"{name}-short.pem"), str(self.folder / f"{name}.key")
