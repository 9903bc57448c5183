"""What goes to which stream, what is imported for it, and that the same command has the same bytes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from divmatch.catalogue import QUANTITIES
from tests.cli.conftest import DIVMATCH

HEAVY = "numpy scipy numba rich sklearn ot pyarrow cupy threadpoolctl"


@pytest.mark.parametrize(
    "line",
    [
        "energy p.npy missing.npy",
        "energy p.npy q.npy --powr 1",
        "energy p.npy q.npy --power 7",
        "kl constant.npy q.npy --scale ref-whiten -f json",
        "score missing.npy q.npy -f csv",
        "config show enrgy",
    ],
)
def test_an_error_is_one_line_on_standard_error_alone(here, line):
    _, printed, errors = here(line)
    assert (printed, errors.count("\n")) == ("", 1)
    assert errors.startswith("divmatch: error: ")


@pytest.mark.parametrize("name", [*QUANTITIES, "test", "score"])
def test_success_is_silent_on_standard_error(run, name):
    doubtful = name in ("ot", "sinkhorn")  # in several columns their bias is always warned of
    found = run(name, "p.npy", "q.npy", *(["--quiet"] if doubtful else []))
    assert (found.returncode, found.stderr) == (0, "")


def test_quiet_drops_warnings_and_keeps_errors(here):
    assert "warning[W" in here("energy p.npy near.npy")[2]
    assert here("energy p.npy near.npy -q")[2] == ""
    assert here("energy p.npy missing.npy -q")[2] != ""


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("enrgy a b", "'energy'"),
        ("energy p.npy q.npy --permutatons 9", "'--permutations'"),
        ("mmd p.npy q.npy --kernel gausian", "'gaussian'"),
        ("energy p.parquet q.parquet --columns mas", "'mass'"),
        ("energy p.npy q.nyp", "'q.npy'"),
        ("score p.npy q.npy --metrics mmd:kernl=laplace", "'kernel'"),
        ("energy p.npy q.npy --method vv", "'v'"),
        ("help exit-code", "'exit-codes'"),
    ],
)
def test_near_misses_are_suggested(here, arguments, meant):
    assert f"did you mean {meant}" in here(arguments)[2]


def test_colour_follows_flag_and_variables(here, monkeypatch):
    line = "energy p.npy q.npy --max 10"
    assert "\033" not in here(line)[1]
    assert "\033[32mPASS" in here(f"{line} --color always")[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033" in here(line)[1]
    assert "\033" not in here(f"{line} --color never")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in here(line)[1]


def test_control_characters_of_file_names_never_reach_the_terminal(here, data):
    name = "red\033[31m\nfile.npy"
    np.save(data / name, np.ones((5, 4)))
    for form in ("text", "markdown", "github", "junit"):
        assert "\033" not in "".join(here(["score", "p.npy", name, "-f", form])[1:])
    assert here(["energy", name + "x", "p.npy"])[2].count("\n") == 1


def test_json_is_ascii_in_any_locale(run, data):
    name = os.fsdecode("ünï-\udcff.npy".encode("utf-8", "surrogateescape"))
    np.save(data / name, np.ones((5, 4)))
    found = run("energy", "p.npy", name, "-f", "json", PYTHONIOENCODING="ascii")
    assert json.loads(found.stdout)["inputs"][1]["name"] == name


# --------------------------------------------------------------------------------- lazy imports


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("--help", ""),
        ("--version", ""),
        ("help exit-codes", ""),
        ("completion bash", ""),
        ("energy p.npy q.npy", "numpy"),
        ("mmd p.npy q.npy", "numpy"),
        ("sliced p.npy q.npy", "numpy"),
        ("kl p.npy q.npy --method knn", "numpy"),
        ("kl p.npy q.npy", "numpy scipy"),
        ("test p.npy q.npy --permutations 19", "numpy"),
        ("score p.npy q.npy", "numpy"),
        ("energy p.parquet missing.parquet", "numpy"),
        ("kl p.npy q.npy --method gaussian -o no/such/folder.json", "numpy"),
    ],
)
def test_only_what_is_needed_is_imported(data, line, allowed):
    code = (
        "import sys; from divmatch.cli.main import run; run(sys.argv[1:]); "
        f"print('LOADED', *[m for m in '{HEAVY}'.split() if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, *line.split()]
    found = subprocess.run(command, cwd=data, capture_output=True, text=True)
    assert set(found.stdout.rpartition("LOADED")[2].split()) <= set(allowed.split())


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("divmatch en", 1, "energy"),
        ("divmatch energy --permu", 2, "--permutations"),
        ("divmatch mmd --scale ref-i", 3, "ref-iqr"),
        ("divmatch completion z", 2, "zsh"),
    ],
)
def test_completion_of_commands_options_and_words(run, words, position, expected):
    found = run(_DIVMATCH_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position))
    assert expected in found.stdout
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"_DIVMATCH_COMPLETE": "foo"}, "expected bash_source"),
        ({"_DIVMATCH_COMPLETE": "bash_foo"}, "expected bash_source"),
        ({"_DIVMATCH_COMPLETE": "tcsh_source"}, "expected bash_source"),
        ({"_DIVMATCH_COMPLETE": "bash_complete"}, "COMP_WORDS and COMP_CWORD"),
        (
            {"_DIVMATCH_COMPLETE": "bash_complete", "COMP_WORDS": "d", "COMP_CWORD": "x"},
            "COMP_WORDS and COMP_CWORD",
        ),
    ],
)
def test_completion_that_no_shell_asked_for_is_refused_in_one_line(run, variables, says):
    found = run("list", **variables)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert says in found.stderr


def test_completion_of_a_command_imports_no_package(data):
    env = {
        **os.environ,
        "_DIVMATCH_COMPLETE": "bash_complete",
        "COMP_WORDS": "divmatch en",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-X", "importtime", DIVMATCH]
    found = subprocess.run(command, cwd=data, env=env, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & set(HEAVY.split())


# ---------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize(
    "line",
    [
        *(f"{name} p.npy q.npy --permutations 4" for name in QUANTITIES),
        "kl p.npy q.npy --method knn",
        "test p.npy q.npy --statistic knn --permutations 19",
        "score p.npy q.npy near.npy --metrics energy,kl,sliced",
    ],
)
def test_same_bytes_for_any_number_of_threads(run, line):
    command = [*line.split(), "--no-run", "-f", "json", "-q"]
    one, two, again = (run(*command, "--threads", n).stdout for n in ("1", "2", "2"))
    assert one == two == again != ""


def test_the_seed_decides_the_permutations(here):
    line = "mmd p.npy near.npy --permutations 99 -q -f json --no-run"

    def p_value(seed):
        return json.loads(here(f"{line} --seed {seed}")[1])["results"][0]["test"]

    assert p_value(0) == p_value(0)
    assert p_value(0) != p_value(1)


def test_a_random_seed_is_reported_and_repeats_the_run(here):
    line = "sliced p.npy q.npy --permutations 19 -f json --no-run --seed"
    _, first, errors = here(f"{line} random")
    seed = errors.removeprefix("divmatch: seed ").strip()
    assert json.loads(first)["settings"]["seed"] == int(seed)
    assert here(f"{line} {seed}")[1] == first
