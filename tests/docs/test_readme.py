"""The README's pipelines run, and print what the README says they print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.data import prepare

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"### (.*?)\n.*?```console\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("readme")
    prepare(made)
    return made


def steps(block):
    """(command, expected output) of every `$ ` line."""
    return [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def test_there_are_six():
    assert len(BLOCKS) == 6


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_pipeline_prints_what_is_shown(folder, block):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}
    for command, shown in steps(block):
        found = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True
        )
        assert (found.stdout, found.stderr, found.returncode) == (shown, "", 0)


def test_two_commands_come_first():
    first = README.read_text("utf-8").index("```sh\nmake demo")
    assert first < README.read_text("utf-8").index("## Six pipelines")
