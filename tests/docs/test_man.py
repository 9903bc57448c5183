"""Manual pages are current and sound; every example in them runs."""

import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from divmatch.catalogue import MATCH_EVERY
from divmatch.cli import main
from divmatch.cli.group import app
from divmatch.cli.man import pages
from tests.docs.data import prepare

MAN = Path(__file__).parents[2] / "man"
CONTEXT = click.Context(app)
NAMES = app.list_commands(CONTEXT)
EXAMPLES = [
    example for name in NAMES for example in getattr(app.get_command(CONTEXT, name), "examples", ())
]
TASKS = {name: app.get_command(CONTEXT, "match").get_command(CONTEXT, name) for name in MATCH_EVERY}
EXAMPLES += [example for command in TASKS.values() for example in command.examples]
LIMITS = {
    "--equivalence",
    "--max",
    "--min",
    "--alpha",
}  # an example with one of these may end with exit code 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("man")
    prepare(made)
    return made


def test_pages_are_current():
    written = {path.name: path.read_text("utf-8") for path in MAN.glob("*.1")}
    made = dict(pages())
    assert sorted(written) == sorted(made)
    stale = [name for name in made if written[name] != made[name]]
    assert stale == [], "`make man` rewrites them"


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
@pytest.mark.parametrize("path", sorted(MAN.glob("*.1")), ids=lambda path: path.stem)
def test_groff_has_nothing_to_say(path):
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(path)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("name", NAMES)
def test_page_has_every_option(name):
    text = dict(pages())[f"divmatch-{name}.1"]
    command = app.get_command(CONTEXT, name)
    flags = [flag for p in command.params if isinstance(p, click.Option) for flag in p.opts]
    assert [flag for flag in [*flags, "-h"] if flag.replace("-", r"\-") not in text] == []


def test_an_example_is_a_command_of_its_page():
    for name in NAMES:
        for example in getattr(app.get_command(CONTEXT, name), "examples", ()):
            assert shlex.split(example)[:2] == ["divmatch", name]


@pytest.mark.parametrize("name", TASKS)
def test_page_of_a_task_has_every_option(name):
    text = dict(pages())[f"divmatch-match-{name}.1"]
    flags = [f for p in TASKS[name].params if isinstance(p, click.Option) for f in p.opts]
    assert [flag for flag in [*flags, "-h"] if flag.replace("-", r"\-") not in text] == []


def test_an_example_of_a_task_is_its_command():
    for name, command in TASKS.items():
        for example in command.examples:
            assert shlex.split(example)[:3] == ["divmatch", "match", name]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(folder, monkeypatch, capsys, example):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    words = shlex.split(example)
    code = main.run(words[1:])
    printed = capsys.readouterr()
    assert code in ((0, 1) if LIMITS & set(words) else (0,)), printed.err
    assert printed.out


@pytest.mark.parametrize("name", ["kl", "mmd", "energy", "sliced", "test", "score", "info"])
def test_commands_that_read_data_have_examples(name):
    assert app.get_command(CONTEXT, name).examples
