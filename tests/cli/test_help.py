"""Help, topics and the commands about divmatch itself."""

import json

import jsonschema
import pytest

from divmatch.catalogue import EVERY as CATALOGUE
from divmatch.catalogue import MATCH_EVERY, QUANTITIES, SINGLES
from divmatch.cli.topics import TOPICS
from divmatch.estimator import quantity

EVERY = [*CATALOGUE, "config show", "config check", *(f"match {name}" for name in MATCH_EVERY)]
GROUPS = ("config", "match")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_examples_before_options(here, name, flag):
    code, printed, errors = here([*name.split(), flag])
    assert (code, errors) == (0, "")
    assert f"divmatch {name} " in printed.partition("Examples:")[2].partition("\n\n")[0] + " "
    assert printed.index("Examples:") < printed.index("--help ")


@pytest.mark.parametrize("name", [name for name in EVERY if name not in GROUPS])
def test_the_help_itself_is_the_last_option(here, name):
    options = here(f"{name} --help")[1].partition("\nHelp:\n")[2].splitlines()
    assert options[0].startswith("  -h, --help  ")


@pytest.mark.parametrize("name", [*QUANTITIES, *SINGLES, "test", "score"])
def test_help_lists_no_argument_among_the_options(here, name):
    assert "\n  P\n" not in here(f"{name} --help")[1]


@pytest.mark.parametrize("name", [*QUANTITIES, *SINGLES, "test", "score"])
def test_help_shows_no_range_without_ends(here, name):
    assert "None" not in here(f"{name} --help")[1]


@pytest.mark.parametrize("name", QUANTITIES)
def test_unit_is_offered_where_something_is_measured_in_nats(here, name):
    code, _, said = here(f"{name} a b --unit bits")
    assert code == 2
    offered = quantity(name).nats or quantity(name).unit == "nats"
    assert ("no such option '--unit'" in said) == (not offered)


def test_alone_it_prints_its_help_as_an_error(run):
    found = run()
    assert (found.returncode, found.stdout) == (2, "")
    assert "Usage: divmatch" in found.stderr


def test_config_alone_prints_its_help_as_an_error(here):
    code, printed, errors = here("config")
    assert (code, printed, errors.startswith("Usage: divmatch config")) == (2, "", True)


def test_help_of_a_command_points_to_its_option(here):
    assert "see divmatch energy --help" in here("help energy")[2]


def test_help_names_every_command(here):
    printed = here("--help")[1]
    assert all(f"  {name} " in printed for name in CATALOGUE)


@pytest.mark.parametrize("topic", [*TOPICS, "warnings", ""])
def test_every_topic_is_explained(here, topic):
    code, printed, errors = here(f"help {topic}")
    assert (code, errors) == (0, "")
    assert printed


def test_exit_codes_are_explained_as_they_are(here):
    codes = [line.split()[0] for line in here("help exit-codes")[1].splitlines()]
    assert codes[:6] == ["0", "1", "2", "3", "4", "70"]


def test_list_names_every_quantity(here):
    assert all(name in here("list")[1] for name in [*QUANTITIES, *SINGLES])
    assert {row["name"] for row in json.loads(here("list -f json")[1])} >= set(QUANTITIES)


def test_info_describes_a_file(here):
    found = json.loads(here("info p.parquet -f json")[1])
    assert (found["rows"], [column["name"] for column in found["columns"]]) == (
        500,
        ["a", "b", "c", "d", "mass"],
    )
    assert "500 rows  4 columns" in here("info p.npy")[1]


def test_info_counts_one_of_each_in_the_singular(here, data):
    (data / "one.csv").write_text("x\n1\n")
    assert here("info one.csv")[1].startswith("one.csv  csv  1 row  1 column\n")


def test_info_shows_missing_and_infinite_values(here, data):
    (data / "gaps.csv").write_text("x,c\n1,u\ninf,\n,v\n-inf,v\n")
    head, *rows = [line.split() for line in here("info gaps.csv")[1].splitlines()[2:]]
    assert head[:4] == ["column", "type", "missing", "infinite"]
    assert [row[:4] for row in rows] == [["x", "double", "1", "2"], ["c", "string", "1", "2"]]


def test_info_has_the_counts_for_machines(here, data):
    (data / "gaps.csv").write_text("x,y\n1,1\ninf,1\n,1\n")
    column = json.loads(here("info gaps.csv -f json")[1])["columns"][0]
    assert (column["missing"], column["infinite"]) == (1, 1)


def test_schema_is_a_schema(here):
    jsonschema.Draft202012Validator.check_schema(json.loads(here("schema result")[1]))


def test_doctor_promises_silence_on_the_network(here):
    assert "never used" in json.loads(here("doctor -f json")[1])["network"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(here, shell):
    assert "_DIVMATCH_COMPLETE" in here(f"completion {shell}")[1]


def test_completion_of_bash_is_valid_bash(run):
    assert run(shell="divmatch completion bash | bash -n").stderr == ""


@pytest.mark.slow
def test_warm_up_compiles_every_kernel(run, tmp_path):
    found = run("warm-up", NUMBA_CACHE_DIR=str(tmp_path))
    assert (found.returncode, found.stderr) == (0, "")
    assert "kernels compiled" in found.stdout
    assert any(tmp_path.rglob("*.nbi"))
