"""What compare, rank, matrix and score keep to for every method of every quantity of two samples."""

import json
import math
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from divmatch.catalogue import QUANTITIES
from divmatch.cli.main import run
from divmatch.cli.render import delimited_header, flat
from divmatch.estimator import quantity
from tests.tolerances import ROUNDING

OWN = {"renyi": ",alpha=0.5", "prdc": ",kind=recall", "fdiv": ",kind=hellinger"}
QUICK = {("kl", "knn"), ("prdc", "balls")}  # of those that subsample


def methods():
    """All of kl and what the others do not share with it; some of many subsamples are slow."""
    for name in QUANTITIES:
        for method, estimator in quantity(name).methods.items():
            if name in ("renyi", "fdiv") and method != quantity(name).default:
                continue
            slow = estimator.interval == "subsampling" and (name, method) not in QUICK
            marks = [pytest.mark.slow] if slow or method in TRAINED else []
            yield pytest.param(name, method, estimator, marks=marks, id=f"{name}-{method}")


TRAINED = {"dv", "nwj", "smile", "infonce", "network"}  # anew on every pair
EVERY_METHOD = pytest.mark.parametrize(("name", "method", "estimator"), list(methods()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A reference and three candidates, of distinct values and of two: the files that all read."""
    made = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    for name, shift in (("ref", 0.0), ("a", 0.2), ("b", 0.6), ("c", 0.2)):
        rows = rng.normal(shift, 1.0, size=(30, 2))
        np.save(made / f"{name}.npy", rows)
        np.save(made / f"{name}-words.npy", (rows > 0).astype(float))
    return made


@pytest.fixture
def there(data, monkeypatch, capfd):
    """Results of a command line, checked against the schema."""
    monkeypatch.chdir(data)
    schema = json.loads(files("divmatch").joinpath("result.schema.json").read_text())

    def start(command, method, names, *options):
        ending = "-words.npy" if method == "discrete" else ".npy"
        paths = [f"{name}{ending}" for name in names.split()]
        code = run([command, *paths, *options, "-f", "json", "-q"])
        printed, errors = capfd.readouterr()
        assert code == 0, errors
        document = json.loads(printed)
        jsonschema.validate(document, schema)
        return document["results"]

    return start


def metric(name, method):
    extra = ",smooth=jeffreys" if method == "discrete" else ""
    return f"{name}:method={method}{OWN.get(name, '')}{extra}"


@EVERY_METHOD
def test_rank_score_and_compare_agree(there, name, method, estimator):
    """Values, intervals and letters are the same; differences have an interval where both sets have."""
    wanted = metric(name, method)
    ranked = {r["sample"]: r for r in there("rank", method, "ref a b", "--metric", wanted)}
    scored = there("score", method, "ref a b", "--metrics", wanted)
    one, other, gap = there("compare", method, "ref a b", "--metric", wanted)
    for found, alone in zip(scored, (one, other), strict=True):
        place = ranked[found["sample"]]
        assert found["value"] == place["value"] == alone["value"]
        assert place["ci"] == alone["ci"]
        if "group" in found:  # not where sets are not comparable
            assert (found["group"], found["ci"]) == (place["group"], place["ci"])
    assert gap["value"] == one["value"] - other["value"]
    if one["ci"] is None or other["ci"] is None:
        assert gap["ci"] is None
        return
    assert gap["ci"]["method"] == estimator.interval
    told = gap["ci"]["low"] > 0 or gap["ci"]["high"] < 0
    assert (gap["test"]["p_value"] <= 0.05) == told


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_candidate_and_itself_are_never_told_apart(there, name):
    """Whatever the method: value 0, and no evidence."""
    wanted = metric(name, quantity(name).default)
    _, _, gap = there("compare", "", "ref a a", "--metric", wanted)
    assert gap["value"] == 0.0
    assert gap["test"] is None or gap["test"]["p_value"] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", QUANTITIES)
def test_matrix_holds_the_values_of_the_pairs(there, name):
    wanted = metric(name, quantity(name).default)
    found = there("matrix", "", "a b", "--metric", wanted)
    pair = there("score", "", "a b", "--metrics", wanted)[0]
    value = next(r["value"] for r in found if r["value"] != 0 and "a.npy" in str(r))
    size = max(abs(value), abs(pair["value"]), 1.0)
    assert math.isclose(value, pair["value"], abs_tol=size * ROUNDING(1600))


def test_rows_hold_nothing_that_the_schema_lacks(there):
    known = json.loads(files("divmatch").joinpath("result.schema.json").read_text())["$defs"]
    known = {name: set(part["properties"]) for name, part in known.items()}
    found = there("rank", "", "ref a b", "-B", "9")
    assert {key for one in found for key in one} <= known["result"]
    row = flat(found[-1])
    assert ",".join(row) == delimited_header(",").strip()
    assert set(row) <= known["result"] | known["interval"] | known["test"] | {"m"}  # n has both
