"""`divmatch rank`: a table with letters, in words and for machines."""

import json

import jsonschema
import numpy as np
import pytest

import divmatch
from tests.tolerances import SAME

NAMES = ("far", "near", "middle", "alike")
LINE = "rank p.npy " + " ".join(f"r-{name}.npy" for name in NAMES)


@pytest.fixture(scope="module", autouse=True)
def candidates(data):
    """Four sets at three distances from p."""
    rng = np.random.default_rng(3)
    for name, shift in zip(NAMES, (1.0, 0.1, 0.5, 0.5), strict=True):
        np.save(data / f"r-{name}.npy", rng.normal(shift, 1.0, size=(400, 4)))


def test_the_table_in_words(here):
    code, printed, errors = here(f"{LINE} -q")
    head, *body, foot = printed.splitlines()
    assert (code, errors) == (0, "")
    assert head.split() == [
        "sample",
        "n",
        "energy",
        "group",
        "rows",
        "to",
        "tell",
        "it",
        "from",
        "the",
        "next",
    ]
    assert body[0].startswith("r-near.npy")
    assert body[3].startswith("r-far.npy")
    assert [line.split("]")[1].split()[0] for line in body] == ["a", "b", "b", "c"]
    assert body[0].endswith("told apart")
    assert body[1].endswith("times the rows")
    assert "sets that share a letter cannot be told apart at 5% (Holm)" in foot


def test_json_holds_all_pairs_and_follows_the_schema(here, data):
    found = json.loads(here(f"{LINE} -f json --no-run")[1])
    jsonschema.validate(found, json.loads(here("schema result")[1]))
    sets, pairs = found["results"][:4], found["results"][4:]
    assert [one["rank"] for one in sets] == [1, 2, 3, 4]
    assert len(pairs) == 6
    assert sum(one["neighbours"] for one in pairs) == 3
    assert all(one["test"]["p_adjusted"] >= one["test"]["p_value"] for one in pairs)
    p, near = np.load(data / "p.npy"), np.load(data / "r-near.npy")
    assert SAME(sets[0]["value"], divmatch.energy(p, near).value)


def test_csv_has_a_row_a_set(here):
    rows = [line.split(",") for line in here(f"{LINE} -f csv")[1].splitlines()]
    place = rows[0].index("group")
    assert [row[place] for row in rows[1:]] == ["a", "b", "b", "c"]


def test_markdown_is_the_table(here):
    lines = here(f"{LINE} -f markdown --metric kl:method=gaussian")[1].splitlines()
    assert "kl:method=gaussian(ref\\|\\|sample)" in lines[0]
    assert [line.count(" | ") for line in lines[2:6]] == [4] * 4


def test_permutations_are_possible(here):
    found = json.loads(here(f"{LINE} -f json -B 19")[1])["results"]
    assert all(one["test"]["method"] == "permutation and normal" for one in found[4:])


@pytest.mark.parametrize("form", ["value", "ndjson", "tsv", "junit", "github"])
def test_every_format_is_written(here, form):
    code, printed, _ = here(f"{LINE} -f {form} --max 100")
    assert code == 0
    assert printed


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("rank p.npy", 2),
        ("rank p.npy r-near.npy", 0),
        (f"{LINE} --max 0.1", 1),
        ("rank p.npy r-near.npy narrow.npy", 2),
        (f"{LINE} --metric energi", 2),
        ("rank constant.npy constant.npy --metric mmd", 3),
    ],
)
def test_exit_codes(here, line, code):
    assert here(line)[0] == code


def test_limits_are_of_the_sets_alone(here):
    rules = json.loads(here(f"{LINE} -f json --max 0.1")[1])["verdict"]["rules"]
    assert len(rules) == 4


def test_bare_values_are_those_of_the_sets(here):
    printed = here("rank p.npy q.npy near.npy -f value -q")[1]
    assert len(printed.split()) == 2


def test_what_is_about_all_sets_is_said_once(here, data):
    rng = np.random.default_rng(8)
    for name, rows in {
        "all": rng.normal(size=(100, 2)),
        "even": rng.normal(size=(100, 2)),
        "skewed": rng.exponential(size=(100, 2)) ** 3,
    }.items():
        np.save(data / f"w41-{name}.npy", rows)
    _, _, errors = here("rank w41-all.npy w41-even.npy w41-skewed.npy --metric kl")
    assert errors.count("W41") == 1


def test_a_colon_without_settings_is_refused(here):
    code, _, errors = here("rank p.npy q.npy near.npy --metric mmd:")
    assert (code, "'mmd:': expected key=value" in errors) == (2, True)


@pytest.mark.parametrize("command", ["compare", "rank"])
def test_of_several_figures_the_one_that_is_compared_is_named(here, command):
    printed = here(f"{command} p.npy q.npy near.npy --metric prdc:k=3 -f ndjson")[1]
    ids = [json.loads(line)["id"] for line in printed.splitlines()]
    assert all(one.startswith("prdc:kind=precision,k=3") for one in filter(None, ids))
    assert (
        "prdc:kind=precision,k=3(" in here(f"{command} p.npy q.npy near.npy --metric prdc:k=3")[1]
    )
