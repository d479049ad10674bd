"""/api/sessions: notebooks and the kernels that belong to them."""
import uuid

import pytest

from test_rest import check_error, check_kernel_model


@pytest.fixture
def session(gateway):
    answer = gateway.post("/api/sessions", json={"path": f"a/{uuid.uuid4()}.ipynb", "type": "notebook", "name": "one",
                                                 "kernel": {"name": "stub"}})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    gateway.delete(f"/api/sessions/{answer.json()['id']}")


def check_session_model(session):
    assert {"id", "path", "name", "type", "kernel"} <= set(session)
    check_kernel_model(session["kernel"])


def test_post_answers_201_with_model_and_location(gateway):
    answer = gateway.post("/api/sessions", json={"path": "p.ipynb", "type": "notebook", "name": "p",
                                                 "kernel": {"name": "stub"}})
    assert answer.status_code == 201
    session = answer.json()
    check_session_model(session)
    assert answer.headers["Location"] == f"/api/sessions/{session['id']}"
    assert (session["path"], session["name"], session["type"]) == ("p.ipynb", "p", "notebook")
    assert gateway.delete(f"/api/sessions/{session['id']}").status_code == 204


def test_session_is_listed_and_found_by_id(gateway, session):
    assert session["id"] in [one["id"] for one in gateway.get("/api/sessions").json()]
    answer = gateway.get(f"/api/sessions/{session['id']}")
    assert answer.status_code == 200
    check_session_model(answer.json())
    assert answer.json()["path"] == session["path"]


def test_post_of_an_existing_path_returns_the_existing_session(gateway, session):
    answer = gateway.post("/api/sessions", json={"path": session["path"], "type": "notebook", "name": "two",
                                                 "kernel": {"name": "stub"}})
    assert answer.status_code == 201
    assert answer.json()["id"] == session["id"] and answer.json()["kernel"]["id"] == session["kernel"]["id"]


def test_patch_changes_path_name_and_type(gateway, session):
    answer = gateway.request("PATCH", f"/api/sessions/{session['id']}",
                             json={"path": "new/path.ipynb", "name": "renamed", "type": "console"})
    assert answer.status_code == 200
    found = gateway.get(f"/api/sessions/{session['id']}").json()
    assert (found["path"], found["name"], found["type"]) == ("new/path.ipynb", "renamed", "console")
    assert found["kernel"]["id"] == session["kernel"]["id"]


def test_patch_to_another_kernelspec_changes_the_kernel(gateway, session):
    answer = gateway.request("PATCH", f"/api/sessions/{session['id']}", json={"kernel": {"name": "stub-message"}})
    assert answer.status_code == 200
    kernel = answer.json()["kernel"]
    assert kernel["name"] == "stub-message" and kernel["id"] != session["kernel"]["id"]
    assert gateway.get(f"/api/kernels/{session['kernel']['id']}").status_code == 404


def test_session_with_an_existing_kernel_takes_that_kernel(gateway, kernel):
    answer = gateway.post("/api/sessions", json={"path": "k.ipynb", "type": "notebook", "name": "k",
                                                 "kernel": {"id": kernel}})
    assert answer.status_code == 201 and answer.json()["kernel"]["id"] == kernel
    assert gateway.delete(f"/api/sessions/{answer.json()['id']}").status_code == 204


def test_legacy_notebook_form_is_accepted(gateway):
    answer = gateway.post("/api/sessions", json={"notebook": {"path": "old.ipynb"}, "type": "notebook",
                                                 "kernel": {"name": "stub"}})
    assert answer.status_code == 201
    assert answer.json()["path"] == "old.ipynb"
    assert answer.json()["notebook"]["path"] == "old.ipynb"
    gateway.delete(f"/api/sessions/{answer.json()['id']}")


def test_delete_ends_the_kernel_too(gateway, session):
    assert gateway.delete(f"/api/sessions/{session['id']}").status_code == 204
    assert gateway.get(f"/api/kernels/{session['kernel']['id']}").status_code == 404
    check_error(gateway.get(f"/api/sessions/{session['id']}"), 404)
    check_error(gateway.delete(f"/api/sessions/{session['id']}"), 404)


def test_session_whose_kernel_went_first_is_gone_to_who_ends_it(gateway, session):
    """jupyter_server's answer: JupyterLab takes it for done. To all others there is none any more."""
    path = f"/api/sessions/{session['id']}"
    assert gateway.delete(f"/api/kernels/{session['kernel']['id']}").status_code == 204
    check_error(gateway.get(path), 404)
    check_error(gateway.request("PATCH", path, json={"name": "x"}), 404)
    check_error(gateway.delete(path), 410, "Kernel deleted before session")
    again = gateway.post("/api/sessions", json={"path": session["path"], "type": "notebook", "kernel": {"name": "stub"}})
    assert again.status_code == 201 and again.json()["id"] != session["id"], "its path is free"
    assert gateway.delete(f"/api/sessions/{again.json()['id']}").status_code == 204


def test_patch_to_a_path_that_has_a_session_is_409_and_changes_nothing(gateway, session):
    other = gateway.post("/api/sessions", json={"path": f"b/{uuid.uuid4()}.ipynb", "type": "notebook", "kernel": {"name": "stub"}}).json()
    path, kernels = f"/api/sessions/{session['id']}", {model["id"] for model in gateway.get("/api/kernels").json()}
    for more in ({}, {"kernel": {"name": "stub-message"}}, {"kernel": {"id": other["kernel"]["id"]}}):
        answer = gateway.request("PATCH", path, json={"path": other["path"], "name": "renamed"} | more)
        check_error(answer, 409, "path", other["id"])
    found = gateway.get(path).json()
    assert all(found[name] == session[name] for name in ("id", "path", "name", "type"))
    assert found["kernel"]["id"] == session["kernel"]["id"]
    assert {model["id"] for model in gateway.get("/api/kernels").json()} == kernels
    assert gateway.request("PATCH", path, json={"path": session["path"]}).status_code == 200, "its own is not taken"
    gateway.delete(f"/api/sessions/{other['id']}")


def test_session_of_a_deleted_kernel_is_gone_and_the_list_still_works(gateway, session):
    gateway.delete(f"/api/kernels/{session['kernel']['id']}")
    answer = gateway.get("/api/sessions")
    assert answer.status_code == 200
    assert session["id"] not in [one["id"] for one in answer.json()]


@pytest.mark.parametrize("body, field", [({"type": "notebook", "kernel": {"name": "stub"}}, "path"),
                                         ({"path": "x", "type": "notebook", "kernel": "stub"}, "kernel"),
                                         ({"path": 7, "type": "notebook", "kernel": {"name": "stub"}}, "path")])
def test_post_with_a_bad_member_is_400_and_names_it(gateway, body, field):
    check_error(gateway.post("/api/sessions", json=body), 400, field)


BAD_MEMBERS = [({"path": path}, "path") for path in ("", "../../../x", "..", "a/../../b.ipynb", "/../x", 7, "p" * 5000)]
BAD_MEMBERS += [({"type": kind}, "type") for kind in ("", 7, "t" * 100)] + [({"notebook": {"path": "../x"}, "path": None}, "path")]


@pytest.mark.parametrize("body, field", BAD_MEMBERS)
def test_bad_path_or_type_is_400_however_it_comes(gateway, session, kernel, body, field):
    whole = {"path": str(uuid.uuid4()), "type": "notebook"} | body
    one = f"/api/sessions/{session['id']}"
    before = gateway.get("/api/sessions").json()
    for answer in (gateway.post("/api/sessions", json=whole | {"kernel": {"name": "stub"}}),
                   gateway.post("/api/sessions", json=whole | {"kernel": {"id": kernel}}),
                   gateway.request("PATCH", one, json=body),
                   gateway.request("PATCH", one, json=body | {"kernel": {"name": "stub-message"}})):
        check_error(answer, 400, field)
    assert [(one["id"], one["path"]) for one in gateway.get("/api/sessions").json()] == [(one["id"], one["path"]) for one in before]
    assert gateway.get(one).json()["kernel"]["id"] == session["kernel"]["id"]


@pytest.mark.parametrize("kind", ["notebook", "console", "file", "x-anything"])
@pytest.mark.parametrize("path", ["n.ipynb", "no/such/directory/n.ipynb", "/absolute/n.ipynb", "a/../b.ipynb", "./n.ipynb", "..n.ipynb",
                                  "a/", "RTC:a/n.ipynb", "a/console-1-4f2a", "größe ☃.ipynb"])
def test_usual_paths_and_types_are_kept_as_they_are(gateway, session, path, kind):
    path = f"{path}-{uuid.uuid4()}"
    answer = gateway.post("/api/sessions", json={"path": path, "type": kind, "name": "", "kernel": {"name": "stub"}})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["path"], answer.json()["type"], answer.json()["name"]) == (path, kind, "")
    gateway.delete(f"/api/sessions/{answer.json()['id']}")
    answer = gateway.request("PATCH", f"/api/sessions/{session['id']}", json={"path": path, "type": kind, "name": ""})
    assert answer.status_code == 200 and (answer.json()["path"], answer.json()["type"]) == (path, kind)
    answer = gateway.request("PATCH", f"/api/sessions/{session['id']}", json={"kernel": {"name": "stub-message"}})
    assert answer.status_code == 200, "a path that was accepted is one to start a kernel for"


def test_post_with_an_unknown_kernelspec_says_so(gateway):
    answer = gateway.post("/api/sessions", json={"path": "u", "type": "notebook", "kernel": {"name": "cobol"}})
    check_error(answer, 404, "cobol")


def test_patch_to_an_unknown_kernelspec_or_kernel_leaves_the_kernel(gateway, session):
    path, unknown = f"/api/sessions/{session['id']}", str(uuid.uuid4())
    check_error(gateway.request("PATCH", path, json={"kernel": {"name": "cobol"}}), 404, "cobol")
    check_error(gateway.request("PATCH", path, json={"kernel": {"id": unknown}}), 400, unknown)
    assert gateway.get(path).json()["kernel"]["id"] == session["kernel"]["id"]


def test_unknown_session_is_404(gateway):
    unknown = str(uuid.uuid4())
    check_error(gateway.get(f"/api/sessions/{unknown}"), 404)
    check_error(gateway.request("PATCH", f"/api/sessions/{unknown}", json={"name": "x"}), 404)
    check_error(gateway.delete(f"/api/sessions/{unknown}"), 404)
