"""The journal over HTTP and in `elara journal`: what the kernel sent, message by message."""
import json
import subprocess

import pytest

from test_auth import as_user, token_file



def read(gateway, kernel_id, query="", **headers):
    answer = gateway.get(f"/api/kernels/{kernel_id}/journal{query}", headers=headers or None)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.split("\n")[:-1]], answer


def parent_id(line):
    return line["parent_header"].get("msg_id")


def texts(lines, cell):
    msg_id = parent_id(cell.messages[0])
    return "".join(line["content"]["text"] for line in lines
                   if line.get("msg_type") == "stream" and parent_id(line) == msg_id)


def test_journal_has_every_message_in_order(gateway, kernel, client):
    cell = client.run_cell("print first")
    lines, answer = read(gateway, kernel)
    seqs = [line["seq"] for line in lines]
    assert seqs == sorted(set(seqs))
    assert texts(lines, cell) == cell.text()
    own = [line for line in lines if parent_id(line) == parent_id(cell.messages[0])]
    assert {(line["channel"], line["msg_type"]) for line in own} >= {
        ("iopub", "status"), ("iopub", "stream"), ("shell", "execute_reply")}
    assert int(answer.headers["Elara-Journal-Last"]) >= seqs[-1]


def test_journal_goes_on_behind_since(gateway, kernel, client):
    client.run_cell("print first")
    before, _ = read(gateway, kernel)
    cell = client.run_cell("print second")
    after, _ = read(gateway, kernel, f"?since={before[-1]['seq']}")
    assert after[0]["seq"] > before[-1]["seq"]
    assert texts(after, cell) == cell.text()
    rest, answer = read(gateway, kernel, f"?since={after[-1]['seq']}")
    assert rest == [] and int(answer.headers["Elara-Journal-Next"]) >= after[-1]["seq"]


def test_journal_comes_in_pages(gateway, kernel, client):
    for i in range(20):
        client.run_cell(f"print {i}")
    whole, _ = read(gateway, kernel)
    pages, since = [], 0
    while True:
        page, _ = read(gateway, kernel, f"?since={since}&max_bytes=2000")
        if not page:
            break
        pages.append(page)
        since = page[-1]["seq"]
    assert len(pages) > 3
    assert [line["seq"] for page in pages for line in page] == [line["seq"] for line in whole]


def test_journal_has_the_buffers(gateway, kernel, connect):
    with connect(gateway, kernel, v1=True) as client:
        client.run_cell("binary 3000")
    lines, _ = read(gateway, kernel)
    assert [line for line in lines if line.get("buffers_base64")]


@pytest.mark.parametrize("query, word", [("?since=-1", "since"), ("?since=x", "since"), ("?since=", "since"),
                                         ("?since=1e3", "since"), ("?since=99999999999999999999", "since"),
                                         ("?max_bytes=17000000", "max_bytes"), ("?since=999999", "beyond")])
def test_bad_query_is_400_and_named(gateway, kernel, client, query, word):
    client.kernel_info()
    answer = gateway.get(f"/api/kernels/{kernel}/journal{query}")
    assert answer.status_code == 400 and word in answer.json()["message"]


def test_journal_of_nobody_is_404(gateway):
    assert gateway.get("/api/kernels/0a1b2c3d-0000-4000-8000-000000000001/journal").status_code == 404


def test_elara_journal_prints_all_pages(gateway, kernel, client, build):
    cell = client.run_cell("flood 3000 40")
    done = subprocess.run([build / "elara", "journal", kernel, "--url", f"http://127.0.0.1:{gateway.port}/"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert texts(lines, cell) == cell.text()
    last = lines[-1]["seq"]
    rest = subprocess.run([build / "elara", "journal", kernel, "--since", str(last), "--url", f"http://127.0.0.1:{gateway.port}/"],
                          capture_output=True, text=True, timeout=60)
    assert rest.returncode == 0 and rest.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["not/an/id"], ["0a1b2c3d-0000-4000-8000-000000000001", "--since", "x"]])
def test_elara_journal_says_what_is_wrong(build, gateway, arguments):
    done = subprocess.run([build / "elara", "journal", *arguments, "--url", f"http://127.0.0.1:{gateway.port}/"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 2 and "elara journal" in done.stderr


def test_journal_is_its_owners_and_the_administrators(start_gateway, connect, build, tmp_path):
    users = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"), ("ops", "admin", "ops-token"))
    gateway = start_gateway("--auth-token-file", str(users))
    gateway.token = "anna-token"
    kernel_id = gateway.start_kernel()["id"]
    connect(gateway, kernel_id).run_cell("print secret")
    path = f"/api/kernels/{kernel_id}/journal"
    answers = {name: gateway.get(path, headers=as_user(name)) for name in ("anna", "bert", "ops", "nobody")}
    assert {name: answer.status_code for name, answer in answers.items()} == {"anna": 200, "bert": 404, "ops": 200, "nobody": 401}
    assert [name for name, answer in answers.items() if "secret" in answer.text] == ["anna", "ops"]

    def elara_journal(token):
        return subprocess.run([build / "elara", "journal", kernel_id, "--url", gateway.base], capture_output=True, text=True, timeout=60,
                              env={"ELARA_TOKEN": token})

    assert "secret" in elara_journal("anna-token").stdout
    for token, word in (("wrong-token", "does not know this token"), ("bert-token", "404")):
        done = elara_journal(token)
        assert done.returncode == 1 and word in done.stderr and done.stdout == ""
