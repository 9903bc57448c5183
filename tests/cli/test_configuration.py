"""Defaults: which source wins, and what a wrong file says."""

import json

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
