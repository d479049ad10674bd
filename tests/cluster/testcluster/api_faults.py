"""An API server that goes bad: what it, or something that stands before it, may answer instead."""
import contextlib
import http.client
import re
import socket

from testcluster.api_proxy import ApiProxy


class FaultyApi(ApiProxy):
    """add_fault() says what is answered instead; cut() ends the connections there are, and the watches on them."""

    def __init__(self, directory):
        self.faults, self.connections = [], set()
        self.unmet = []  # "METHOD path" of requests that found no API server
        super().__init__(directory)

    def add_fault(self, answer, request, times=1):
        """answer(request) in place of the API server, to so many of the requests in whose "METHOD path" this pattern is found.
        Returns what counts: its "left" is how often it will still happen."""
        fault = {"answer": answer, "request": re.compile(request), "left": times}
        with self.lock:
            self.faults.append(fault)
        return fault

    def mend(self):
        with self.lock:
            self.faults.clear()

    def cut(self):
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take_fault(self, line):
        with self.lock:
            for fault in self.faults:
                if fault["left"] > 0 and fault["request"].search(line):
                    fault["left"] -= 1
                    return fault["answer"]
        return None

    def serve(self, request):
        self.connections.add(request.connection)
        answer = self.take_fault(f"{request.command} {request.path}")
        if answer is None:
            try:
                super().serve(request)
            except ConnectionRefusedError:
                self.unmet.append(f"{request.command} {request.path}")
                reply(503, b"no backend", {"Content-Type": "text/plain"})(request)
            except (ConnectionError, http.client.HTTPException):  # the API server is not there; a balancer says so
                reply(503, b"no backend", {"Content-Type": "text/plain"})(request)
            return
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        answer(request)


def reply(status, body, headers=()):
    """This answer."""

    def answer(request):
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **dict(headers)}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def truncate(request):
    """Half of an answer, then the end of the connection."""
    request.send_response(201)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"kind": "Pod", "metadata": {"na')
    request.close_connection = True


def swell(request):
    """An answer without an end."""
    request.send_response(200)
    request.end_headers()
    request.close_connection = True
    request.wfile.write(b'{"kind": "Pod", "x": "')
    with contextlib.suppress(OSError):
        while True:
            request.wfile.write(b"x" * (1 << 20))
