"""A registry of images for one test: for pulls that take as long as the test wants, or are refused."""
import base64
import hashlib
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
HOLD_LIMIT_S = 300


def basic(user, password):
    """The header that says it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Registry:
    """Serves docker-archives under any name. Use it as a context manager.

    `address` is the registry's part of image names. `refuse` maps a repository to (HTTP status, code, message), `passwords` one
    to the (user, password) that its pulls need; pulls wait as long as `hold()` was said last, not `release()`: for what the
    image is made of, since a node may have its layers already.
    """

    def __init__(self):
        self.manifests = {}  # {(repository, tag or digest): bytes}
        self.blobs = {}  # {digest: (archive, member) or bytes}
        self.refuse, self.passwords = {}, {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = threading.Event()  # an image was asked for
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        # containerd speaks HTTP, not HTTPS, with this address alone.
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.release()
        self.server.shutdown()
        self.server.server_close()

    def hold(self):
        self.asked.clear()
        self.go_on.clear()

    def release(self):
        self.go_on.set()

    def add(self, repository, archive, tag="1"):
        """Serves the image of a docker-archive; returns its name."""
        with tarfile.open(archive) as tar:
            described = json.load(tar.extractfile("manifest.json"))[0]
            config = tar.extractfile(described["Config"]).read()
            layers = [tar.getmember(name) for name in described["Layers"]]
        digests = json.loads(config)["rootfs"]["diff_ids"]  # layers are not compressed
        self.blobs[self.digest(config)] = config
        for layer, digest in zip(layers, digests, strict=True):
            self.blobs[digest] = (archive, layer)
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": self.digest(config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "size": layer.size, "digest": digest}
                       for layer, digest in zip(layers, digests, strict=True)]}).encode()
        self.manifests[repository, tag] = self.manifests[repository, self.digest(manifest)] = manifest
        return f"{self.address}/{repository}:{tag}"

    @staticmethod
    def digest(content):
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    # -- answers --
    def answer(self, request):
        words = request.path.split("?")[0].split("/")
        if request.path == "/v2/":
            return self.send(request, 200, b"{}", "application/json")
        repository, kind, name = "/".join(words[2:-2]), words[-2], words[-1]
        if repository in self.refuse:
            return self.send_error(request, *self.refuse[repository])
        if repository in self.passwords and request.headers["Authorization"] != basic(*self.passwords[repository]):
            return self.send_error(request, 401, "UNAUTHORIZED", "authentication required")
        if kind == "manifests" and (repository, name) in self.manifests:
            self.asked.set()
            self.go_on.wait(HOLD_LIMIT_S)
            return self.send(request, 200, self.manifests[repository, name], MANIFEST)
        if kind == "blobs" and name in self.blobs:
            return self.send_blob(request, self.blobs[name])
        return self.send_error(request, 404, "MANIFEST_UNKNOWN", "manifest unknown")

    def send(self, request, status, content, kind):
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("Docker-Content-Digest", self.digest(content))
        if status == 401:
            request.send_header("WWW-Authenticate", 'Basic realm="the registry"')
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def send_error(self, request, status, code, message):
        self.send(request, status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), "application/json")

    def send_blob(self, request, blob):
        if isinstance(blob, bytes):
            return self.send(request, 200, blob, "application/octet-stream")
        archive, layer = blob
        request.send_response(200)
        request.send_header("Content-Length", str(layer.size))
        request.end_headers()
        self.go_on.wait(HOLD_LIMIT_S)
        with open(archive, "rb") as file:
            file.seek(layer.offset_data)
            left = layer.size
            while left > 0 and (data := file.read(min(left, 1 << 20))):
                request.wfile.write(data)
                left -= len(data)
