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
