"""Between a gateway and the API server: any request can be held, lost or preceded by somebody else's, at a point the test names."""
import contextlib
import http.client
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from testcluster.layout import KUBECONFIG, SECRETS

WAIT_S = 60


class Rule:
    """What happens to the first request of that method in whose path or body `text` is, and of which accepts(body) is true.

    mode: "before" holds it, "after" holds its answer, both until release(); "lose" breaks the connection instead of answering; "busy" asks to come again in a
    minute, which is later than a call waits. The method WATCH stands for what a watch tells: "before" holds that and all that comes after it, "after" what comes
    after it.
    """

    def __init__(self, mode, method, kind, text, accepts):
        self.mode, self.method, self.kind, self.text, self.accepts = mode, method, kind, text, accepts
        self.reached, self.released = threading.Event(), threading.Event()
        self.is_used = False

    def takes(self, method, path, body):
        return (not self.is_used and method == self.method and f"/{self.kind}" in path and (self.text in path or self.text in body)
                and self.accepts(body))

    def wait(self):
        assert self.reached.wait(WAIT_S), f"no {self.method} of {self.kind} about {self.text} within {WAIT_S} s"

    def release(self):
        self.released.set()


class ApiProxy:
    """Use it as a context manager. `kubeconfig` is what a gateway is given."""

    def __init__(self, directory):
        user = json.loads(KUBECONFIG.read_text())
        self.server = urlsplit(user["clusters"][0]["cluster"]["server"])
        self.token = user["users"][0]["user"]["token"]
        self.tls = ssl.create_default_context(cafile=SECRETS / "ca.crt")
        self.rules, self.lock = [], threading.Lock()
        self.flow = threading.Event()  # cleared: nothing more is told by watches
        self.flow.set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                with contextlib.suppress(OSError):  # the gateway was killed
                    super().handle_one_request()
                    return
                self.close_connection = True

            def serve(self):
                proxy.serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.http = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.kubeconfig = directory / "proxied.kubeconfig"
        user["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.http.server_port}"}
        self.kubeconfig.write_text(json.dumps(user))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()
        self.http.shutdown()
        self.http.server_close()

    def add(self, mode, method, kind, text, accepts=lambda body: True):
        rule = Rule(mode, method, kind, text, accepts)
        with self.lock:
            self.rules.append(rule)
        return rule

    def release(self):
        for rule in self.rules:
            rule.release()
        self.flow.set()

    def take_rule(self, method, path, body):
        with self.lock:
            for rule in self.rules:
                if rule.takes(method, path, body):
                    rule.is_used = True
                    return rule
        return None

    def serve(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        rule = self.take_rule(request.command, request.path, body.decode())
        if rule is not None and rule.mode == "before":
            rule.reached.set()
            rule.released.wait()
        if rule is not None and rule.mode == "busy":
            rule.reached.set()
            request.send_response(503)
            request.send_header("Retry-After", "60")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        backend = http.client.HTTPSConnection(self.server.hostname, self.server.port, context=self.tls, timeout=3600)
        with contextlib.closing(backend):
            headers = {name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers}
            backend.request(request.command, request.path, body or None, headers | {"Authorization": f"Bearer {self.token}"})
            answer = backend.getresponse()
            if "watch=" in request.path:
                self.stream(request, answer)
                return
            text = answer.read()
        if rule is not None:
            rule.reached.set()
        if rule is not None and rule.mode == "after":
            rule.released.wait()
        if rule is not None and rule.mode == "lose":
            request.close_connection = True
            return
        request.send_response(answer.status)
        request.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def stream(self, request, answer):
        request.send_response(answer.status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        while text := answer.readline():  # one event
            self.flow.wait()
            rule = self.take_rule("WATCH", request.path, text.decode(errors="replace"))
            if rule is not None and rule.mode == "before":
                rule.reached.set()
                rule.released.wait()
            request.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            request.wfile.flush()
            if rule is not None and rule.mode == "after":
                rule.reached.set()
                rule.released.wait()
        request.wfile.write(b"0\r\n\r\n")
