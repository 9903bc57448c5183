"""Defaults: which source wins, and what a wrong file says."""

import json
import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def place(here, monkeypatch, tmp_path):
    """A folder with a sample, a home for the user's own configuration, and a way to run in it."""
    np.save(tmp_path / "x.npy", np.arange(5.0))
    (tmp_path / "home" / "divmatch").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def level(here, place):
    def found(*arguments):
        code, printed, errors = here(["energy", "x.npy", "x.npy", "-f", "json", "-q", *arguments])
        assert (code, errors) == (0, "")
        return json.loads(printed)["settings"]["level"]

    return found


def test_precedence_of_every_source(place, level, monkeypatch):
    assert level() == 0.95
    (place / "home/divmatch/config.toml").write_text("[defaults]\nlevel = 0.5\n")
    assert level() == 0.5
    (place / "divmatch.toml").write_text("[defaults]\nlevel = 0.6\n")
    assert level() == 0.6
    (place / "other.toml").write_text("[defaults]\nlevel = 0.7\n")
    assert level("--config", "other.toml") == level("--config=other.toml") == 0.7
    monkeypatch.setenv("DIVMATCH_LEVEL", "0.8")
    assert level("--config", "other.toml") == 0.8
    assert level("--config", "other.toml", "--level", "0.9") == 0.9


def test_the_table_of_a_command_wins_over_defaults(place, level):
    (place / "divmatch.toml").write_text("[defaults]\nlevel = 0.6\n[energy]\nlevel = 0.7\n")
    assert level() == 0.7


def test_pyproject_and_folders_above_are_found(place, level, monkeypatch):
    (place / "pyproject.toml").write_text("[tool.divmatch.defaults]\nlevel = 0.6\n")
    (place / "deep/er").mkdir(parents=True)
    np.save(place / "deep/er/x.npy", np.arange(5.0))
    monkeypatch.chdir(place / "deep/er")
    assert level() == 0.6


def test_paths_are_relative_to_the_file_that_names_them(here, place, monkeypatch):
    (place / "divmatch.toml").write_text('[defaults]\noutput = ["made.json"]\n')
    (place / "below").mkdir()
    monkeypatch.chdir(place / "below")
    assert here("energy ../x.npy ../x.npy -q")[0] == 0
    assert (place / "made.json").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[defaults]\nlevle = 0.9\n", "did you mean 'level'"),
        ("[enrgy]\npower = 1\n", "did you mean 'energy'"),
        ("[energy]\npwer = 1\n", "did you mean 'power'"),
        ("[defaults\n", "not valid TOML"),
        ("defaults = 3\n", "'defaults' must be a table"),
        ("[defaults]\nlevel = {a = 1}\n", "is a table, expected a value"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(here, place, content, says):
    (place / "divmatch.toml").write_text(content)
    for line in ("energy x.npy x.npy", "config check"):
        code, printed, errors = here(line)
        assert (code, printed, errors.count("\n")) == (2, "", 1)
        assert "divmatch.toml: " in errors
        assert says in errors


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seed = -1", "seed: -1: expected a whole number"),
        ("threads = 0", "threads: 0 is not in the range"),
        ('threads = "two"', "threads: 'two' is not a valid whole number"),
        ("threads = true", "'threads' is true, expected a value"),
        ("jobs = 2\nthreads = 2", "'jobs' and 'threads' are one setting; keep one"),
        ("level = nan", "level: 'nan' is not a number"),
        ("level = 2", "level: 2.0 is not in the range"),
        ('max-memory = "1B"', "max-memory: 1B: at least 16MiB"),
        ('sample = "0"', "sample: '0' is no number of rows"),
        ("permutations = [1, 2]", "permutations: '1,2' is not a valid whole number"),
        ("min = 5\nmax = 1", "min: 5 is above --max 1"),
        ('quiet = "perhaps"', "quiet: 'perhaps' is not a valid boolean"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_file_and_key(here, place, content, says):
    (place / "divmatch.toml").write_text(f"[defaults]\n{content}\n")
    for line in ("energy x.npy x.npy", "config check"):
        code, printed, errors = here(line)
        assert (code, printed, errors.count("\n")) == (2, "", 1)
        assert f"error: {place}/divmatch.toml: {says}" in errors


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[energy]\npower = 3", "power: 3.0: expected a number above 0"),
        ("[kl]\nk = 0", "k: 0: expected auto or a whole number"),
        ("[kl]\nmethod = 'foo'", "method: foo: expected one of"),
        ("[score]\nmetrics = 'foo'", "metrics: no quantity is called 'foo'"),
        ("[test]\nstatistic = 'foo'", "statistic: no quantity is called 'foo'"),
        ("[test]\nalpha = 0.001\npermutations = 19", "permutations: 19: p-values below"),
    ],
)
def test_check_applies_the_checks_of_every_command(here, place, content, says):
    (place / "divmatch.toml").write_text(content)
    code, printed, errors = here("config check")
    assert (code, printed, errors) == (2, "", errors)
    assert f"error: {place}/divmatch.toml: {says}" in errors


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("DIVMATCH_SEED", "-1", "DIVMATCH_SEED: -1: expected"),
        ("DIVMATCH_THREADS", "0", "DIVMATCH_THREADS: 0 is not in the range"),
        ("DIVMATCH_MAX_MEMORY", "1B", "DIVMATCH_MAX_MEMORY: 1B: at least"),
        ("DIVMATCH_CONFIG", "gone.toml", "DIVMATCH_CONFIG: gone.toml: no such configuration file"),
        ("DIVMATCH_SEDE", "1", "DIVMATCH_SEDE: no such setting; did you mean 'DIVMATCH_SEED'?"),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(
    here, place, monkeypatch, variable, value, says
):
    monkeypatch.setenv(variable, value)
    for line in ("energy x.npy x.npy", "config check"):
        code, printed, errors = here(line)
        assert (code, printed, errors.count("\n")) == (2, "", 1)
        assert f"error: {says}" in errors


def test_a_typed_flag_is_named_as_it_was_typed(here, place, monkeypatch):
    monkeypatch.setenv("DIVMATCH_SEED", "3")
    assert "error: --seed -1: expected" in here("energy x.npy x.npy --seed -1")[2]


@pytest.mark.parametrize("name", ["DIVMATCH_DEBUG", "DIVMATCH_POWER", "DIVMATCH_ALPHA"])
def test_every_known_variable_is_taken(here, place, monkeypatch, name):
    monkeypatch.setenv(name, "1" if name != "DIVMATCH_ALPHA" else "0.5")
    assert here("mmd x.npy x.npy -q")[0] == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[tool.divmatch]\n[", "not valid TOML"),
        ("[tool]\ndivmatch = 3\n", "'divmatch' must be a table"),
        ("[tool]\ndivmatch.defaults.seed = -1\n", "seed: -1"),
    ],
)
def test_a_wrong_table_of_a_project_is_one_line(here, place, content, says):
    (place / "pyproject.toml").write_text(content)
    code, printed, errors = here("energy x.npy x.npy")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert f"pyproject.toml: {says}" in errors


def test_a_broken_project_without_settings_is_none_of_our_business(place, level):
    (place / "pyproject.toml").write_text("[")
    assert level() == 0.95


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["divmatch.toml", "home/divmatch/config.toml"])
def test_a_configuration_that_is_no_file_is_refused(here, place, make, name):
    make(place / name)
    code, printed, errors = here("energy x.npy x.npy")
    assert (code, printed) == (2, "")
    assert f"{name}: is not a file" in errors


@pytest.mark.parametrize("version", ["99", "true", '"1"'])
def test_another_version_is_refused(here, place, version):
    (place / "divmatch.toml").write_text(f"version = {version}\n")
    code, _, errors = here("config check")
    assert (code, "divmatch.toml: version " in errors) == (2, True)


@pytest.mark.parametrize(
    "content", ["a = " + "[" * 9999 + "]" * 9999, f"[defaults]\nseed = {'9' * 5000}\n"]
)
def test_toml_that_breaks_the_parser_is_one_line(here, place, content):
    (place / "divmatch.toml").write_text(content)
    code, _, errors = here("energy x.npy x.npy")
    assert (code, errors.count("\n")) == (2, 1)


def test_a_default_that_is_no_level_is_refused(here, place):
    (place / "divmatch.toml").write_text("[defaults]\nlevel = 2\n")
    code, printed, errors = here("energy x.npy x.npy")
    assert (code, printed, errors.count("\n")) == (2, "", 1)


def test_a_missing_file_is_named(here, place):
    assert "absent.toml" in here("energy x.npy x.npy --config absent.toml")[2]


def test_show_says_where_a_value_comes_from(here, place, monkeypatch):
    (place / "divmatch.toml").write_text("[defaults]\nlevel = 0.6\n")
    monkeypatch.setenv("DIVMATCH_SEED", "7")
    lines = here("config show energy --origin")[1].splitlines()
    shown = dict(line.split(" = ", 1) for line in lines)
    assert shown["level"].split("    # ") == ["0.6", str(place / "divmatch.toml")]
    assert shown["seed"].split("    # ") == ["7", "DIVMATCH_SEED"]
    assert shown["na"].split("    # ") == ["error", "built in"]


def test_check_accepts_a_good_file(here, place):
    (place / "good.toml").write_text("version = 1\n[defaults]\nseed = 3\n[mmd]\nkernel = 'imq'\n")
    assert here("config check good.toml")[:2] == (0, "ok\n")


@pytest.mark.parametrize(
    ("table", "line", "says"),
    [
        ("best-of-n", 'n = "4,x"', "divmatch.toml: n: x: expected a whole number"),
        ("best-of-n", 'rewards = "r.npy"', "rewards: has an effect only with"),
        ("probs", 'kind = "kl,js,kl"', "is named twice"),
        ("kl", 'k = "many"', "expected auto or a whole number"),
        ("best-of-n", "m = 4", "unknown key 'm' in [best-of-n]"),
    ],
)
def test_check_sees_the_settings_of_every_command(here, place, table, line, says):
    (place / "divmatch.toml").write_text(f"[{table}]\n{line}\n")
    code, printed, errors = here("config check")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert says in errors


def test_check_leaves_what_is_required_required(here, place):
    assert here("config check") == (0, "ok\n", "")
    assert "missing option '-n'" in here("best-of-n x.npy")[2]


def test_check_draws_no_seed(here, place):
    (place / "divmatch.toml").write_text("[defaults]\nseed = 'random'\n")
    assert here("config check") == (0, "ok\n", "")
