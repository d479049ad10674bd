from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--elara-build", default=str(ROOT / "build"), help="build directory with the programs to test")
    parser.addoption("--part", default="1/1", metavar="N/OF", help="of the tests only every OF-th, from the N-th on")


def pytest_collection_modifyitems(config, items):
    number, of = map(int, config.getoption("--part").split("/"))
    mine = items[number - 1::of]
    config.hook.pytest_deselected(items=[item for item in items if item not in mine])
    items[:] = mine
