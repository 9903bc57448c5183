"""What is shipped: packages, wheel content, imports that stay light."""

import pkgutil
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import divmatch
from divmatch.catalogue import EVERY, SECTIONS

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
MODULES = [module.name for module in pkgutil.walk_packages(divmatch.__path__, "divmatch.")]
source_tree = pytest.mark.skipif(not (ROOT / "core").is_dir(), reason="only where the sources are")
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


def loaded(code, *more):
    """The heavy modules, and more, that a fresh interpreter has after some code."""
    names = repr((*HEAVY, "numpy", *more))
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


@pytest.mark.parametrize("name", ["energy", "mmd", "sliced"])
def test_small_estimate_loads_numpy_alone(name):
    code = f"""
import os
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
import divmatch
divmatch.{name}([0.0, 1.0, 2.5, 3.0, 7.0, 8.0, 9.5], [0.1, 1.2, 2.0, 4.0, 5.0, 6.0])"""
    assert loaded(f"exec({code!r})") == ["numpy"]


def test_estimate_without_a_draw_loads_no_generators():
    code = "import divmatch; divmatch.mmd([0.0, 1.0, 2.5, 3.0, 7.0], [0.1, 1.2, 2.0, 4.0])"
    assert "numpy.random" not in loaded(code, "numpy.random")


def test_sections_name_every_command():
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(EVERY)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names in a wheel built from a copy of the sources: what an earlier build left is not in it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("core", "cli", "estimators", "transport", "kernels", "man", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder), str(copy)]
    if recent_setuptools():
        options.append("--no-build-isolation")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options], check=True)
    (made,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(made).namelist())


def recent_setuptools():
    """Whether this environment can build without fetching anything."""
    try:
        return int(version("setuptools").partition(".")[0]) >= 77 and version("wheel") != ""
    except PackageNotFoundError:
        return False


def folder_of(package):
    """Where the sources of a package lie."""
    inner = package.removeprefix("divmatch").removeprefix(".")
    return ROOT / (inner.replace(".", "/") or "core")


@source_tree
def test_nothing_at_the_root_shadows_the_package():
    assert list(ROOT.glob("*.py")) == []
    assert not (ROOT / "divmatch").exists()


@source_tree
def test_packages_listed_are_the_folders():
    listed = SETUPTOOLS["packages"]
    found = {
        path.parent.relative_to(ROOT).as_posix()
        for name in ("core", "cli", "estimators", "transport", "kernels")
        for path in (ROOT / name).rglob("__init__.py")
    }
    assert {folder_of(package).relative_to(ROOT).as_posix() for package in listed} == found
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert folder_of(package) == ROOT / folder


@source_tree
def test_wheel_holds_the_sources_and_nothing_else(wheel):
    wanted = {"divmatch/py.typed", "divmatch/result.schema.json"} | {
        f"{package.replace('.', '/')}/{path.name}"
        for package in SETUPTOOLS["packages"]
        for path in folder_of(package).glob("*.py")
    }
    assert {n for n in wheel if ".dist-info/" not in n and ".data/" not in n} == wanted


@source_tree
def test_wheel_holds_the_manual(wheel):
    data = {name.partition(".data/")[2] for name in wheel if ".data/" in name}
    assert data == {f"data/share/man/man1/{path.name}" for path in (ROOT / "man").glob("*.1")}


@source_tree
def test_wheel_holds_metadata_and_licence(wheel):
    named = {name.partition(".dist-info/")[2] for name in wheel if ".dist-info/" in name}
    assert {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"} <= named


@pytest.mark.parametrize("name", MODULES)
def test_module_can_be_imported(name):
    if name.startswith("divmatch.kernels.cpu"):
        pytest.importorskip("numba")
    assert import_module(name).__doc__
