"""Notebook cells as a client renders them (nbformat's output model, as JupyterLab keeps it), and what was sent twice for that."""

OUTPUTS = ("stream", "display_data", "execute_result", "error")


class RenderedCell:
    def __init__(self):
        self.outputs = []
        self.execution_count = None
        self.replies = []
        self.is_idle = False
        self.clears_next = False  # clear_output(wait=True): with the next output
        self.clears = 0  # by the gateway, to build the cell anew
        self.prompts = []

    @property
    def is_done(self):
        return bool(self.replies) and self.is_idle

    def clear(self, wait=False):
        if wait:
            self.clears_next = True
            return
        self.outputs = []
        self.prompts = []  # an input that waits is an output of the cell, too

    def add(self, kind, content, buffers):
        if self.clears_next:
            self.clear()
            self.clears_next = False
        last = self.outputs[-1] if self.outputs else None
        if kind == "stream" and last and last["output_type"] == "stream" and last["name"] == content["name"]:
            last["parts"].append(content["text"])
        elif kind == "stream":
            self.outputs.append({"output_type": "stream", "name": content["name"], "parts": [content["text"]]})
        else:
            self.outputs.append({"output_type": kind, "content": content, "buffers": [bytes(part) for part in buffers]})

    def text(self, name="stdout"):
        return "".join("".join(output["parts"]) for output in self.outputs
                       if output["output_type"] == "stream" and output["name"] == name)

    def displays(self):
        """text/plain of everything displayed, in order."""
        return [output["content"]["data"]["text/plain"] for output in self.outputs
                if output["output_type"] in ("display_data", "execute_result")]


class Renderer:
    """One notebook; it outlives its connections. take() every message that comes, on whichever."""

    def __init__(self):
        self.cells = {}
        self.seen = {}  # msg_id -> clears of its cell when it came last
        self.taken = self.repeated = 0
        self.strays = []  # a cell's, sent twice, and not because the cell was built anew
        self.loose = 0  # no cell's, sent twice: behind the cursor such a message comes again
        self.states = []

    def cell(self, msg_id):
        return self.cells.setdefault(msg_id, RenderedCell())

    def take(self, message):
        header, content = message["header"], message["content"]
        kind, parent = header["msg_type"], message["parent_header"].get("msg_id")
        cell = self.cell(parent) if message["parent_header"].get("msg_type") == "execute_request" else None
        self.count(message, cell)
        if kind == "status":
            self.states.append(content["execution_state"])
        if cell is None:
            return
        if kind == "clear_output":
            cell.clear(content["wait"])
        elif kind in OUTPUTS:
            self.update(content, message["buffers"])
            cell.add(kind, content, message["buffers"])
        elif kind == "update_display_data":
            self.update(content, message["buffers"])
        elif kind == "execute_input":
            cell.execution_count = content["execution_count"]
        elif kind == "execute_reply":
            cell.replies.append(content)
        elif kind == "input_request":
            cell.prompts.append(message)
        elif kind == "status":
            cell.is_idle = content["execution_state"] == "idle"

    def update(self, content, buffers):
        """All displays of this id show the newest."""
        display_id = content.get("transient", {}).get("display_id")
        for cell in self.cells.values() if display_id else ():
            for output in cell.outputs:
                if output["output_type"] != "stream" and output["content"].get("transient", {}).get("display_id") == display_id:
                    output["content"] = content
                    output["buffers"] = [bytes(part) for part in buffers]

    def count(self, message, cell):
        self.taken += 1
        header = message["header"]
        if header["msg_type"] == "clear_output" and header["username"] == "elara":
            cell.clears += 1
        clears = cell.clears if cell is not None else 0
        before = self.seen.get(header["msg_id"])
        if before is not None:
            self.repeated += 1
            if cell is None:
                self.loose += 1
            elif clears <= before and header["msg_type"] != "update_display_data":
                self.strays.append((header["msg_type"], message["content"]))
        self.seen[header["msg_id"]] = clears

    def share(self):
        return (f"{self.repeated} of {self.taken} messages were repeats ({100 * self.repeated / max(self.taken, 1):.0f} %), "
                f"{self.loose} of them no cell's")
