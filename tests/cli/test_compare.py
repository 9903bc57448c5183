"""`divmatch compare`: two lines of text, a verdict, limits, formats."""

import json

import jsonschema
import numpy as np
import pytest

import divmatch
from tests.tolerances import SAME

CLEAR, UNCLEAR = "compare p.npy near.npy q.npy", "compare p.npy q.npy c-other.npy"


@pytest.fixture(scope="module", autouse=True)
def other(data):
    """Rows as far from p as those of q."""
    rng = np.random.default_rng(8)
    np.save(data / "c-other.npy", rng.normal(-0.2, 1.0, size=(500, 4)))


def test_a_clear_difference_in_words(here):
    code, printed, _ = here(CLEAR)
    first, second = printed.splitlines()
    assert code == 0
    assert first.startswith("energy(near.npy) ")
    assert "   difference -" in first
    assert "   95% CI -" in first
    assert first.endswith(" (normal)")
    assert second == "verdict: near.npy is nearer to p.npy than q.npy at n = 500, 200, 500"


def test_an_unclear_difference_names_what_would_settle_it(here):
    _, printed, _ = here(UNCLEAR)
    verdict = printed.splitlines()[1]
    assert verdict.startswith("verdict: no detectable difference at n = 500; about ")
    assert verdict.endswith(" rows each would settle a gap of this size")


def test_numbers_are_those_of_the_functions(here, data):
    results = json.loads(here(f"{CLEAR} -f json")[1])["results"]
    p, near, q = (np.load(data / f"{name}.npy") for name in ("p", "near", "q"))
    expected = [divmatch.energy(p, near).value, divmatch.energy(p, q).value]
    assert SAME([one["value"] for one in results[:2]], expected)
    assert results[2]["value"] == expected[0] - expected[1]


def test_json_follows_the_schema(here):
    found = json.loads(here(f"{CLEAR} -B 19 -f json --no-run")[1])
    jsonschema.validate(found, json.loads(here("schema result")[1]))
    assert [one["role"] for one in found["inputs"]] == ["ref", "sample", "sample"]
    assert [one["id"] for one in found["results"]] == ["energy", "energy", "energy:difference"]
    assert found["settings"]["nearer"] == "A"
    last = found["results"][2]
    assert last["test"]["p_value"] == max(last["p_normal"], last["p_permutation"])


def test_permutations_are_told(here):
    assert "(larger of normal and 19 permutations)" in here(f"{CLEAR} -B 19")[1]


@pytest.mark.parametrize("form", ["value", "ndjson", "csv", "tsv", "markdown", "junit", "github"])
def test_every_format_is_written(here, form):
    code, printed, _ = here(f"{CLEAR} -f {form} --max 1.1")
    assert code == 0
    assert printed


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"{CLEAR} --max 0", 0),
        (f"{CLEAR} --min 0", 1),
        ("compare p.npy q.npy near.npy --max 0", 1),
        (f"{CLEAR} --metric energi", 2),
        (f"{CLEAR} --paired", 2),
        ("compare p.npy q.npy missing.npy", 2),
        ("compare p.npy q.npy narrow.npy", 2),
        ("compare - q.npy -", 2),
        ("compare p.npy q.npy", 2),
        ("compare constant.npy constant.npy constant.npy --metric mmd", 3),
    ],
)
def test_exit_codes(here, line, code):
    assert here(line)[0] == code


@pytest.mark.parametrize("metric", ["kl:method=nnr", "kl:method=knn", "sliced:projections=20"])
def test_other_metrics_can_be_named(here, metric):
    code, printed, _ = here(f"{UNCLEAR} --metric {metric} -q")
    assert code == 0
    assert "95% CI" in printed


def test_the_direction_of_an_asymmetric_metric_is_shown(here):
    assert "(p.npy || q.npy)" in here(f"{UNCLEAR} --metric kl:method=gaussian -q")[1]


def test_paired_rows_narrow_the_interval(here, data):
    rows = np.load(data / "q.npy")
    np.save(data / "c-pair.npy", rows + 0.05)
    line = "compare p.npy q.npy c-pair.npy -f json"
    plain, paired = (
        json.loads(here(line + flag)[1])["results"][2]["se"] for flag in ("", " --paired")
    )
    assert paired < 0.3 * plain


def test_nothing_is_told_apart_near_the_reference(here, data):
    rng = np.random.default_rng(1)
    for name in "ab":
        np.save(data / f"c-{name}.npy", rng.normal(size=(100, 4)))
    errors = here("compare p.npy c-a.npy c-b.npy")[2]
    assert "warning[W04]: c-a.npy - c-b.npy: neither c-a.npy nor c-b.npy" in errors
