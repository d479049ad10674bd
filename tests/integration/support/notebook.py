"""A notebook whose connection breaks: what it shows is kept, and it comes back with the same session."""
import time
import uuid

import websocket

from support.client import Client, Closed
from support.proxy import reset
from support.render import Renderer

BROKEN = (Closed, OSError, websocket.WebSocketException)


class Notebook:
    def __init__(self, gateway, kernel_id, through=None, **options):
        self.gateway, self.kernel_id, self.options = gateway, kernel_id, options
        self.through = through  # a proxy
        self.session_id = uuid.uuid4().hex
        self.renderer = Renderer()
        self.client = None
        self.connections = 0
        self.connect()

    # What Client wants to know of a gateway.
    @property
    def port(self):
        return (self.through or self.gateway).port

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self):
        return self.gateway.token

    def connect(self):
        self.client = Client(self, self.kernel_id, session_id=self.session_id, **self.options)
        self.connections += 1

    def execute(self, code):
        msg_id = self.client.send_execute(code)
        return msg_id, self.renderer.cell(msg_id)

    def read(self, cell, count=None, timeout=90):
        """Until the cell is done, or so many messages have come; False when the connection broke."""
        end = time.monotonic() + timeout
        while not cell.is_done and (count is None or count > 0):
            try:
                self.renderer.take(self.client.receive(end - time.monotonic()))
            except websocket.WebSocketTimeoutException as error:
                raise AssertionError(f"nothing came, after {self.renderer.taken} messages") from error
            except BROKEN:
                return False
            count = None if count is None else count - 1
        return True

    def read_rest(self):
        """What lies in the buffers of a connection that has ended."""
        try:
            while True:
                self.renderer.take(self.client.receive(5))
        except BROKEN:
            pass

    def reset(self):
        reset(self.client.socket.sock)
