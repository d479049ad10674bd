"""The pages list what the programs have."""
import pathlib
import re
import subprocess

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_configuration_is_the_option_table(build):
    assert (DOCS / "configuration.md").read_text() == output_of(build / "elara-gateway", "--print-configuration-reference"), "run `make docs`"


def test_operations_name_each_verb_of_elara(build):
    verbs = re.findall(r"^  elara ([a-z]+(?: [a-z]+)?)", output_of(build / "elara", "help"), re.MULTILINE)
    told = re.findall(r"^\| `elara ([a-z]+(?: [a-z]+)?)", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert verbs and sorted(told) == sorted(verbs)
