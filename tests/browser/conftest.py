from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--elara-build", default=str(ROOT / "build"), help="build directory with the programs to test")
