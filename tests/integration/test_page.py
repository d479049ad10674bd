"""The status page at /elara over HTTP: who gets in, whose forms count, what others' words can do to it (tests/browser/test_page.py shows it to a
real browser)."""
import base64
import hashlib
import os
import re
import signal
import uuid
from html.parser import HTMLParser

import pytest
import requests

from support.processes import wait_until
from test_auth import TOKEN, as_user, named, token_file  # noqa: F401
from test_run_command import certificate  # noqa: F401

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>\u202e"


def basic(token, user="anybody"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


class Page(HTMLParser):
    """The text, the tags with their attributes, and the addresses of the buttons by their text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.buttons, self.text, self.button, self.cells = [], {}, "", None, []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "button":
            self.button = dict(attributes)["formaction"]
        if tag == "td":
            self.cells.append([dict(attributes)["data-label"], ""])

    def handle_endtag(self, tag):
        if tag == "button":
            self.button = None

    def handle_data(self, data):
        self.text += data
        if self.cells:
            self.cells[-1][1] += data.rstrip("\n")
        if self.button is not None:
            self.buttons.setdefault(data, []).append(self.button)


def read(gateway, path="/elara", **headers):
    answer = gateway.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def act(gateway, action, kernel_id, origin=True, **headers):
    if origin:
        headers["Origin"] = gateway.base if origin is True else origin
    return gateway.post(f"/elara?do={action}&kernel={kernel_id}", headers=headers, allow_redirects=False)


# -- what it shows --

def test_kernels_and_their_states(start_gateway):
    gateway = start_gateway("--max-kernels", "7", "--max-kernels-per-user", "3")
    with gateway.kernel() as kernel_id:
        gateway.wait_for_state(kernel_id, "idle")
        page = read(gateway)
        for text in (kernel_id, "Stub", "idle", "Elara 0.", "Up for", "no token is asked for", "Limit of kernels7", "Limit for each user3"):
            assert text in page.text, text
    wait_until(lambda: "There are no kernels." in read(gateway).text, what="a page without kernels")


def test_dead_kernel_has_its_reason_and_no_interrupt(start_gateway, specs):
    specs.add("broken", ["no-such-program", "-f", "{connection_file}"], display_name="Broken")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("broken")["id"]
    gateway.wait_for_state(kernel_id, "dead")
    page = read(gateway)
    assert "dead: " in page.text and "no-such-program" in page.text
    assert "Interrupt" not in page.buttons and "Restart" in page.buttons


def cells(page):
    """What stands in the cells of a page with one kernel, by their headings."""
    return {label: text for label, text in page.cells}


def test_what_a_kernel_uses_and_when_it_goes(start_gateway):
    gateway = start_gateway("--cull-idle-timeout", "2h", "--cull-unattached-timeout", "0")
    with gateway.kernel("python3") as kernel_id:
        gateway.wait_for_state(kernel_id, "idle", timeout=60)
        row = cells(read(gateway))
        assert re.fullmatch(r"< 1 s|\d+ s|\d+ min", row["Age"]) and re.fullmatch(r"< 1 s|\d+ s|\d+ min", row["Idle"])
        assert re.match(r"in (1 h 5\d min|2 h)", row["Next cull"]) and row["Next cull"].endswith("idle, nobody connected")
        assert re.fullmatch(r"[1-9]\d+ MiB", row["Memory"]) and re.fullmatch(r"\d+ (ms|s)|< 1 s", row["CPU time"])


def test_kept_kernel_says_for_how_long(start_gateway):
    gateway = start_gateway("--cull-idle-timeout", "1h")
    with gateway.kernel() as kernel_id:
        gateway.wait_for_state(kernel_id, "idle")
        page = read(gateway)
        assert act(gateway, "keep", kernel_id).headers["Location"] == f"?done=kept&kernel={kernel_id}#done"
        row = cells(read(gateway))
        assert "Keep for 4 h" in page.buttons and re.search("kept for (3 h 59 min|4 h)", row["Next cull"]), row
        assert re.match("in (3 h 59 min|4 h)", row["Next cull"]), row


def test_busy_kernel_says_that_it_is_kept(gateway, kernel, client):
    client.send_execute("sleep 600000")
    gateway.wait_for_state(kernel, "busy")
    row = cells(read(gateway))
    assert row["Next cull"] == "It is kept: it is busy." and row["Idle"] == "–"
    assert act(gateway, "interrupt", kernel).status_code == 303


def test_users_keep_for_as_long_as_they_may(start_gateway, tmp_path):
    tokens = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("ops", "admin", "ops-token"))
    gateway = start_gateway("--auth-token-file", str(tokens), "--cull-max-own-timeout", "90m")
    gateway.token = "anna-token"
    with gateway.kernel() as kernel_id:
        gateway.wait_for_state(kernel_id, "idle")
        assert "Keep for 1 h 30 min" in read(gateway).buttons and "Keep for 4 h" in read(gateway, **as_user("ops")).buttons
        assert act(gateway, "keep", kernel_id).status_code == 303
        assert re.search("kept for 1 h (29 min|30 min)", cells(read(gateway))["Next cull"])


def test_launcher_that_does_not_answer_holds_the_page_up_for_seconds_only(start_gateway):
    gateway = start_gateway()
    with gateway.kernel() as kernel_id:
        gateway.wait_for_state(kernel_id, "idle")
        [launcher] = gateway.launcher_pids(kernel_id)
        os.kill(launcher, signal.SIGSTOP)
        try:
            answer = gateway.get("/elara", timeout=12)  # the launcher is given 15 s otherwise
            assert kernel_id in answer.text and cells(Page(answer.text))["Memory"] == "–"
        finally:
            os.kill(launcher, signal.SIGCONT)
        wait_until(lambda: cells(read(gateway))["Memory"] != "–", 30, "the launcher's answer")


def test_settings_that_are_not_in_effect_are_told_to_admins(start_gateway, tmp_path):
    tokens = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("ops", "admin", "ops-token"))
    settings = tmp_path / "elara.yaml"
    settings.write_text("cull_idle_timeout: 1h\n")
    gateway = start_gateway("--auth-token-file", str(tokens), "--config", str(settings))
    gateway.token = "ops-token"
    assert "not in effect" not in read(gateway).text
    settings.write_text("cull_idle_timeout: <b>1 hour</b>\n")
    wait_until(lambda: "not in effect" in read(gateway).text, what="the problem")
    assert "elara.yaml:1" in read(gateway).text and "elara.yaml" not in read(gateway, **as_user("anna")).text
    settings.write_text("cull_idle_timeout: 1h\nport_retries: 3\n")
    wait_until(lambda: "wait for a restart: port" in read(gateway).text, what="what waits")
    assert "not in effect" not in read(gateway).text and "restart: port" not in read(gateway, **as_user("anna")).text


def test_no_script_no_outside_asset_and_one_style_that_the_policy_names(gateway, kernel):
    answer = gateway.get("/elara")
    page = Page(answer.text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "base"}
    assert not [names for _, names in page.tags if any(name.startswith("on") or name in ("src", "style") for name in names)]
    assert len([tag for tag, _ in page.tags if tag == "style"]) == 1
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy == {"default-src": "'none'", "style-src": f"'sha256-{digest}'", "form-action": "'self'", "frame-ancestors": "'none'",
                      "base-uri": "'none'"}


def check_headers(answer):
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers and "Access-Control-Allow-Origin" not in answer.headers


def test_every_answer_has_the_headers(start_gateway):
    gateway = start_gateway("--allow-origin", "https://lab.example", "--allow-credentials", "true", token=TOKEN)
    with gateway.kernel() as kernel_id:
        for answer, status in ((gateway.get("/elara"), 200), (gateway.get("/elara?from=x"), 400),
                               (gateway.get("/elara", headers={"Authorization": ""}), 401),
                               (act(gateway, "interrupt", kernel_id, origin=None), 403),
                               (act(gateway, "interrupt", kernel_id, origin="https://lab.example"), 403),
                               (act(gateway, "interrupt", uuid.uuid4()), 404), (act(gateway, "interrupt", kernel_id), 303)):
            assert answer.status_code == status
            check_headers(answer)


def test_head(gateway, kernel):
    answer = gateway.request("HEAD", "/elara")
    assert answer.status_code == 200 and answer.text == "" and int(answer.headers["Content-Length"]) > 1000
    check_headers(answer)


def test_below_the_base_url(start_gateway):
    gateway = start_gateway("--base-url", "/some/where", ready=False)
    wanted = {"Origin": gateway.base}
    wait_until(lambda: "listens on" in gateway.log(), what="the gateway")
    kernel_id = gateway.post("/some/where/api/kernels", json={"name": "stub"}).json()["id"]
    page = read(gateway, "/some/where/elara")
    [address] = page.buttons["Delete"]
    answer = requests.post(requests.compat.urljoin(gateway.base + "/some/where/elara", address), headers=wanted, timeout=30)
    assert answer.status_code == 200 and answer.url.startswith(gateway.base + "/some/where/elara?done=deleted&kernel=")
    assert f"Kernel {kernel_id} was ended and deleted." in Page(answer.text).text


def test_many_kernels_are_shown_in_pages(start_gateway):
    gateway = start_gateway("--max-kernels", "0", "--refusal-style", "notebook", "--max-failed-kernels", "1000")
    ids = [gateway.start_kernel()["id"] for _ in range(103)]  # each refused, and kept for its reason
    first, second = read(gateway), read(gateway, "/elara?from=100")
    assert all(one in first.text for one in ids[:100]) and not any(one in first.text for one in ids[100:])
    assert "100 of 103 shown" in first.text and ("a", {"href": "?from=100"}) in first.tags
    assert all(one in second.text for one in ids[100:]) and not any(one in second.text for one in ids[:100])
    assert gateway.get("/elara?from=-1").status_code == 400


def test_switched_off_listing_is_off_here_too(start_gateway):
    gateway = start_gateway(environment={"ELARA_LIST_KERNELS": "false"})
    kernel_id = gateway.start_kernel()["id"]
    page = read(gateway)
    assert "list-kernels" in page.text and kernel_id not in page.text


# -- what others' words can do --

def test_hostile_names_and_reasons_are_only_text(start_gateway, specs):
    specs.add("hostile", ["no-such-program", HOSTILE, "-f", "{connection_file}"], display_name=HOSTILE)
    specs.add("long", ["no-such-program", "-f", "{connection_file}"], display_name="x" * 5000)
    gateway = start_gateway()
    for name in ("hostile", "long"):
        gateway.wait_for_state(gateway.start_kernel(name)["id"], "dead")
    answer = gateway.get("/elara")
    page = Page(answer.text)
    assert HOSTILE in page.text and "<script" not in answer.text and "<img" not in answer.text
    assert "x" * 200 + "…" in page.text and "x" * 201 not in page.text


@pytest.mark.parametrize("query", ["done=<script>alert(1)</script>&kernel=1", "done=interrupted&kernel=<b>", "done=interrupted&kernel=call%20now",
                                   "done=deleted", "do=interrupt&kernel=%22%3E%3Cscript%3E"])
def test_address_puts_nothing_of_its_own_on_the_page(gateway, query):
    answer = gateway.get(f"/elara?{query}")
    assert answer.status_code == 200 and 'id="done"' not in answer.text
    for text in ("<script", "<b>", "call now"):
        assert text not in answer.text


def test_refusal_shows_the_address_as_text(gateway):
    answer = act(gateway, "<script>alert(1)</script>", uuid.uuid4())
    assert answer.status_code == 400 and "<script" not in answer.text and "<script>alert(1)" in Page(answer.text).text


# -- who gets in --

def test_token_is_the_password_and_the_name_does_not_matter(start_gateway):
    gateway = start_gateway(token=TOKEN)
    for user in ("", "anybody", "a b", "ünï"):
        assert gateway.get("/elara", headers=basic(TOKEN, user)).status_code == 200
    assert gateway.get("/elara", headers={"Authorization": basic(TOKEN)["Authorization"].replace("Basic", "bAsIc ")}).status_code == 200
    assert gateway.get("/elara", headers={"Authorization": f"token {TOKEN}"}).status_code == 200
    assert gateway.get(f"/elara?token={TOKEN}", headers={"Authorization": ""}).status_code == 200
    assert gateway.get("/elara?token=wrong", headers=basic(TOKEN)).status_code == 401


@pytest.mark.parametrize("value", [None, "", "Basic", "Basic ", "Basic !!!", "Basic " + base64.b64encode(TOKEN.encode()).decode(),
                                   basic("")["Authorization"], basic("wrong")["Authorization"], basic(TOKEN + "\0")["Authorization"],
                                   basic(TOKEN + "x")["Authorization"], basic("x" * 6000)["Authorization"], "token wrong"])
def test_anything_else_is_asked_for_it(start_gateway, value):
    gateway = start_gateway(token=TOKEN)
    answer = requests.get(gateway.base + "/elara", headers={} if value is None else {"Authorization": value}, timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Elara", charset="UTF-8"'
    assert "<h1>401 Unauthorized</h1>" in answer.text and TOKEN not in gateway.log()


def test_basic_counts_on_no_other_route(start_gateway):
    """A browser that knows the token sends it to every route of ours by itself, for other sites too; only the page looks at Origin closely
    enough."""
    gateway = start_gateway(token=TOKEN)
    for path in ("/api/kernels", "/api", "/api/me"):
        answer = gateway.get(path, headers=basic(TOKEN))
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "token"
    assert gateway.post("/api/kernels", headers=basic(TOKEN)).status_code == 401


def test_foreign_name_without_a_token_is_refused(gateway):
    assert gateway.get("/elara", headers={"Host": "evil.example"}).status_code == 403


def test_user_sees_and_changes_only_own_kernels(named):  # noqa: F811
    with named.kernel() as kernel_id:
        named.wait_for_state(kernel_id, "idle")
        anna, bert, ops = (read(named, **basic(f"{name}-token")) for name in ("anna", "bert", "ops"))
        assert kernel_id in anna.text and "Your kernels" in anna.text and "Owner" not in anna.text
        assert kernel_id not in bert.text and "Kernels of yours0" in bert.text
        assert kernel_id in ops.text and "Owner" in ops.text and "anna" in ops.text and "ops (admin)" in ops.text
        for action in ("interrupt", "restart", "delete", "keep"):
            foreign = act(named, action, kernel_id, **basic("bert-token"))
            never = act(named, action, (other := str(uuid.uuid4())), **basic("bert-token"))
            assert foreign.status_code == never.status_code == 404
            assert foreign.text == never.text.replace(other, kernel_id), "as if it never was"
        assert act(named, "interrupt", kernel_id, **basic("ops-token")).status_code == 303
        assert named.model(kernel_id)["execution_state"] == "idle"


# -- what it does --

def test_actions_are_done_and_told(gateway, connect):
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    [pid] = gateway.kernel_pids(kernel_id)
    client = connect(gateway, kernel_id)
    sent = client.send_execute("sleep 600000")
    gateway.wait_for_state(kernel_id, "busy")
    for action, done in (("interrupt", "interrupted"), ("restart", "restarted"), ("delete", "deleted")):
        answer = act(gateway, action, kernel_id)
        assert answer.status_code == 303 and answer.headers["Location"] == f"?done={done}&kernel={kernel_id}#done"
        assert f"Kernel {kernel_id} was " in read(gateway, f"/elara?done={done}&kernel={kernel_id}").text
        if action == "interrupt":
            assert client.collect(sent).reply["status"] == "error"
        if action == "restart":
            assert gateway.kernel_pids(kernel_id) not in ([], [pid])
    assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 404


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "http://localhost:{port}",
                                    "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example", "127.0.0.1:{port}"])
@pytest.mark.parametrize("allowed", ["", "*"])
def test_foreign_or_missing_origin_changes_nothing(start_gateway, origin, allowed):
    """Not even where allow-origin lets every page use the API with a token of its own."""
    gateway = start_gateway(*(["--allow-origin", allowed] if allowed else []), token=TOKEN)
    with gateway.kernel() as kernel_id:
        answer = act(gateway, "delete", kernel_id, origin and origin.format(port=gateway.port), **basic(TOKEN))
        assert answer.status_code == 403 and "Origin" in answer.text
        assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 200


def test_with_tls_only_its_own_scheme_counts(start_gateway, certificate):  # noqa: F811
    """Whoever is in the network can show a page of http:// with our name."""
    flags, file = certificate
    gateway = start_gateway(*flags, ready=False)
    wait_until(lambda: "listens on" in gateway.log(), what="the gateway")
    base = f"https://127.0.0.1:{gateway.port}"
    for origin, status in ((base.replace("https", "http"), 403), (base, 404)):
        answer = requests.post(f"{base}/elara?do=delete&kernel={uuid.uuid4()}", headers={"Origin": origin}, verify=file, timeout=30)
        assert answer.status_code == status


def test_unknown_actions_and_kernels_are_refused(gateway, kernel):
    assert act(gateway, "", kernel).status_code == 400
    assert act(gateway, "shutdown", kernel).status_code == 400
    assert gateway.post("/elara", headers={"Origin": gateway.base}).status_code == 400
    assert act(gateway, "delete", "").status_code == 404
    assert act(gateway, "delete", "../" + kernel).status_code == 404
    assert gateway.request("PUT", "/elara").status_code == 405
    assert gateway.get(f"/api/kernels/{kernel}").status_code == 200


def test_get_changes_nothing(gateway, kernel):
    assert gateway.get(f"/elara?do=delete&kernel={kernel}").status_code == 200
    assert gateway.get(f"/api/kernels/{kernel}").status_code == 200


def test_failed_action_says_why(start_gateway, specs):
    specs.add("broken", ["no-such-program", "-f", "{connection_file}"])
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("broken")["id"]
    gateway.wait_for_state(kernel_id, "dead")
    answer = act(gateway, "restart", kernel_id)
    assert answer.status_code == 500 and "no-such-program" in Page(answer.text).text
