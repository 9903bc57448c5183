"""The README's pipelines run, and print what the README says they print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.data import prepare

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PIPELINES = re.findall(r"^### (.*?)\n(.*?)(?=^##)", README, re.DOTALL | re.MULTILINE)
OTHERS = re.compile(
    "DIVMATCH_|MAKE|MFLAGS|GNUMAKEFLAGS|FORCE_COLOR"
)  # what would change the output
BIN = Path(sys.executable).parent


def blocks(language, text):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def steps(block):
    """(command, expected output) of every `$ ` line."""
    return [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def run(command, folder):
    """One command line of the shell, where divmatch is the one under test."""
    env = {name: value for name, value in os.environ.items() if not OTHERS.match(name)}
    env |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    env |= {"XDG_CONFIG_HOME": str(folder)}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True
    )


def shape(text):
    """The text with every number replaced, so that another library's digits do not matter."""
    return [re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "0", line).split() for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path)
    return tmp_path


def test_there_are_six():
    assert len(PIPELINES) == 6


@pytest.mark.parametrize(
    "text", [text for _, text in PIPELINES], ids=[name for name, _ in PIPELINES]
)
def test_pipeline_prints_what_is_shown(folder, text):
    for makefile in blocks("make", text):
        (folder / "Makefile").write_text(makefile)
    (session,) = blocks("console", text)
    for command, shown in steps(session):
        found = run(command, folder)
        assert (found.stdout, found.stderr, found.returncode) == (shown, "", 0)


def test_demo_prints_what_is_shown(tmp_path):
    found = run(f"'{sys.executable}' '{ROOT / 'tests' / 'demo.py'}' '{BIN / 'divmatch'}'", tmp_path)
    assert found.returncode == 0, found.stderr
    (shown,) = blocks("text", README)
    printed = shape(found.stdout)
    assert [line for line in shape(shown) if line not in printed] == []
    sets = re.findall(r"^demo/\S+", shown, re.MULTILINE)
    assert sets == re.findall(r"^demo/\S+", found.stdout, re.MULTILINE)


def test_python_example_runs():
    (example,) = blocks("python", README)
    assert run(f"'{sys.executable}' - <<'END'\n{example}\nEND", ROOT / "tests").returncode == 0


def test_two_commands_come_first():
    assert README.index("```sh\nmake demo") < README.index("## Six pipelines")


@pytest.mark.skipif(not (ROOT / "core").is_dir(), reason="only where the sources are")
def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
