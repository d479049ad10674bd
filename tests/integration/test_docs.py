"""The pages list what the programs have (docs/configuration.md is compared by tools/lint)."""
import importlib.util
import math
import pathlib
import re
import subprocess

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_page_names_each_verb_of_elara(build):
    told_by_help = subprocess.run([build / "elara", "help"], capture_output=True, text=True, check=True, timeout=60).stdout
    verbs = re.findall(r"^  elara ([a-z]+(?: [a-z]+)?)", told_by_help, re.MULTILINE)
    told = re.findall(r"^\| `elara ([a-z]+(?: [a-z]+)?)", (DOCS / "admin-command.md").read_text(), re.MULTILINE)
    assert verbs and sorted(told) == sorted(verbs)


def named_tests(page):
    """What is in backticks in a table's last column, if that is called test or shown by (`file::test` too), and tests and their files anywhere."""
    text, named, is_list = page.read_text(), set(), False
    for line in text.splitlines():
        last = line.rstrip("|").rsplit("|", 1)[-1] if line.startswith("|") else ""
        is_list = line.startswith("|") and (is_list or last.strip() in ("test", "shown by"))
        if is_list:
            named |= set(re.findall(r"`([\w.:]+)`", last))
    named |= set(re.findall(r"`((?:test|fuzz)_\w+(?:\.\w+)?)`", text)) | set(re.findall(r"`test_\w+\.c`:\s+`(\w+)`", text))
    return named


@pytest.mark.parametrize("page, count", [("threat-model.md", 30), ("policy.md", 15), ("migrating-from-jeg.md", 20), ("homes.md", 0), ("parity.md", 100)])
def test_tests_that_a_page_names_are_there(page, count):
    tests = pathlib.Path(__file__).parents[1]
    files = [path for folder in ("unit", "integration", "cluster") for path in (tests / folder).glob("test_*.*")]
    of_file = {path: re.findall(r"^(?:def|static void) (\w+)\(", path.read_text(), re.MULTILINE) for path in files}
    there = {path.name for path in files} | {name for path in files for test in of_file[path] for name in (test, f"{path.name}::{test}")}
    there |= {path.stem for path in (tests / "fuzz").glob("fuzz_*.c")}
    named = named_tests(DOCS / page)
    assert len(named) >= count and sorted(named - there) == []


def test_each_row_of_parity_names_a_test():
    rows = [line for line in (DOCS / "parity.md").read_text().splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| what |", "| the end "))]
    assert len(rows) > 90 and [row for row in rows if not re.search(r"`test_\w+\.(?:py|c)::\w+` \|$", row)] == []


@pytest.mark.parametrize("page", ["homes.md", "policy.md"])
def test_a_page_fits_on_two(page):
    """A4 has some 52 lines of 10 pt within margins of 2 cm; a longer line of the file is several."""
    lines = (DOCS / page).read_text().splitlines()
    assert sum(max(1, math.ceil(len(line) / 120)) for line in lines) <= 104


def test_what_is_added_to_the_lab_s_pod_is_listed():
    """By the list that l8_the_pod_of_the_lab takes out of the pod before it compares all of it."""
    source = (DOCS.parent / "tests" / "unit" / "test_kube_jinja.c").read_text()
    added = re.findall(r'"(.+?)"', source.split("added[] = {")[1].split("};")[0])
    page = (DOCS / "migrating-from-jeg.md").read_text().split("## The pod, field by field")[1].split("\n##")[0]
    listed = [field for line in page.splitlines() if line.startswith("| `") for field in re.findall(r"`(.+?)`", line.split("|")[1])]
    assert len(added) > 15 and sorted(listed) == sorted(path.replace("/0/", "[0]/").replace("/", ".") for path in added)


def texts_of_the_programs(*more):
    """All string literals of the C sources that tell why a kernel does not run, one a line."""
    sources = [path for folder in ("launcher", "nfs", "gateway", *more) for path in sorted((DOCS.parent / folder).glob("*.c"))]
    sources = [path for path in sources if path.name != "kube_reasons.c"]  # it has the page's other columns
    code = "\n".join(re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE) for path in sources)
    literals = re.findall(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', code)
    return "\n".join(re.sub(r'"\s*"', "", literal)[1:-1].replace('\\"', '"') for literal in literals)


def shown_by(page, columns):
    """(heading, column, sentence) of each cell of a page's columns with such a name."""
    for part in (DOCS / page).read_text().split("\n## ")[1:]:
        names = None  # of the table's columns
        for line in part.splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" |")] if line.startswith("| ") else []
            if names is None or not line.startswith("|"):
                names = cells or None
            for name, cell in zip(names or [], cells):
                if name in columns and cell != name:
                    yield from ((part.splitlines()[0], name, sentence) for sentence in cell.split("<br>"))


def not_written(sentences, written):
    """Each part between the words in italics, and between what a sentence is put together of, is to be there."""
    for sentence in sentences:
        parts = [part.strip(" .:;") for part in re.split(r"\*[^*]+\*|[:;] |\. (?=[A-Z])", sentence)]
        for part in parts:
            if part and not re.search(f"(?i:{re.escape(part[0])}){re.escape(part[1:])}", written):
                yield f"{part!r} of: {sentence}"


def test_what_the_page_lets_a_user_read_is_what_is_written():
    shown, written = list(shown_by("reasons.md", ("what the user reads", "stage"))), texts_of_the_programs()
    assert {heading for heading, _, _ in shown} == {
        "A start that fails", "A pod that ends", "What the API server refuses", "What has no word", "What a person sees meanwhile"}
    assert len(shown) > 80 and all(sentence for _, _, sentence in shown)
    assert list(not_written([sentence for _, _, sentence in shown], written)) == []


OURS = ("the log says", "the log or the cell says", "the cell says", "the cell or the answer says", "the gateway says", "elara doctor says")
THEIRS = {"jupyter_server says": ("jupyter_server/gateway", "*.py"), "clients say": ("jupyter_client", "*.py"), "JupyterLab says": ("jupyterlab/static", "*.js")}


def texts_of_a_package(folder, pattern):
    """Of the release that the tests run; literals that stand beside one another are one."""
    place = pathlib.Path(importlib.util.find_spec(folder.split("/")[0]).origin).parents[1] / folder
    return "\n".join(re.sub(r'"\s+f?"', "", path.read_text()) for path in sorted(place.rglob(pattern)))


def test_what_troubles_are_known_by_is_what_is_written():
    shown = list(shown_by("troubleshooting.md", (*OURS, *THEIRS)))
    assert {column for _, column, _ in shown} == {*OURS, *THEIRS} and len(shown) > 50
    assert list(not_written([sentence for _, column, sentence in shown if column in OURS], texts_of_the_programs("base"))) == []
    for column, (folder, pattern) in THEIRS.items():
        theirs = [sentence for _, name, sentence in shown if name == column]
        assert list(not_written(theirs, texts_of_a_package(folder, pattern))) == []


def test_operations_takes_its_figures_from_what_was_measured():
    part = (DOCS / "operations.md").read_text().split("\n## Size\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" |")] for line in part.splitlines() if line.startswith("| ")][1:]
    performance = (DOCS / "performance.md").read_text()
    figures = [figure for row in rows for figure in row[1].split("; ")] + re.findall(r"`make bench [^`]+`", part)
    assert len(figures) > 12 and [figure for figure in figures if figure not in performance] == []
