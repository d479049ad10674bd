"""The pages list what the programs have (docs/configuration.md is compared by tools/lint)."""
import pathlib
import re
import subprocess

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_page_names_each_verb_of_elara(build):
    told_by_help = subprocess.run([build / "elara", "help"], capture_output=True, text=True, check=True, timeout=60).stdout
    verbs = re.findall(r"^  elara ([a-z]+(?: [a-z]+)?)", told_by_help, re.MULTILINE)
    told = re.findall(r"^\| `elara ([a-z]+(?: [a-z]+)?)", (DOCS / "admin-command.md").read_text(), re.MULTILINE)
    assert verbs and sorted(told) == sorted(verbs)


def test_the_threat_model_names_tests_that_exist():
    tests = pathlib.Path(__file__).parents[1]
    named = set(re.findall(r"`((?:test_|fuzz_|hostile_)\w+|\w+_smuggle_nothing)`", (DOCS / "threat-model.md").read_text()))
    sources = "".join(path.read_text() for folder in ("unit", "integration", "cluster") for path in (tests / folder).glob("test_*.*"))
    there = set(re.findall(r"(?:def|static void) (\w+)\(", sources)) | {path.stem for path in (tests / "fuzz").glob("fuzz_*.c")}
    assert len(named) > 30 and sorted(named - there) == []
