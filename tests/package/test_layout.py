"""What is shipped: packages, wheel content, imports that stay light."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import divmatch
from divmatch.catalogue import COMMANDS, QUANTITIES, SECTIONS

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "core"
HEAVY = (
    "numba",
    "scipy",
    "sklearn",
    "ot",
    "pyarrow",
    "rich",
    "cupy",
    "matplotlib",
    "dask",
    "threadpoolctl",
)


def loaded(code):
    """The heavy modules that a fresh interpreter has after some code."""
    names = repr((*HEAVY, "numpy"))
    script = f"import sys; {code}; print(*[m for m in {names} if m in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    ).stdout.split()


def test_version_is_the_metadata():
    assert divmatch.__version__ == version("divmatch")


def test_import_loads_nothing_heavy():
    assert loaded("import divmatch") == []


def test_command_line_loads_nothing_heavy():
    assert loaded("import divmatch.cli.group") == []


@pytest.mark.parametrize("name", ["energy", "mmd", "kl", "sliced"])
def test_small_estimate_loads_numpy_alone(name):
    code = f"""
import os
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
import divmatch
divmatch.{name}([0.0, 1.0, 2.5, 3.0, 7.0, 8.0, 9.5], [0.1, 1.2, 2.0, 4.0, 5.0, 6.0])"""
    assert loaded(f"exec({code!r})") == ["numpy"]


def test_sections_name_every_command():
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted([*QUANTITIES, *COMMANDS])


@pytest.mark.skipif(not SOURCES.is_dir(), reason="only where the sources are")
def test_no_module_at_the_root():
    assert list(ROOT.glob("*.py")) == []
    assert not (ROOT / "divmatch").exists()


@pytest.mark.skipif(not SOURCES.is_dir(), reason="only where the sources are")
def test_wheel_holds_the_package_and_its_manual(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "-q",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    wanted = {"divmatch/py.typed", "divmatch/result.schema.json"}
    for package in packages["packages"]:
        folder = ROOT / packages["package-dir"].get(
            package, package.replace("divmatch.", "").replace(".", "/")
        )
        wanted |= {f"{package.replace('.', '/')}/{path.name}" for path in folder.glob("*.py")}
    manual = {name for name in names if "/share/man/man1/" in name}
    assert {Path(name).name for name in manual} == {
        path.name for path in (ROOT / "man").glob("*.1")
    }
    assert {name for name in names - manual if ".dist-info/" not in name} == wanted
