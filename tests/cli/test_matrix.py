"""`divmatch matrix`: the square of all pairs, in words and in files."""

import csv
import json

import jsonschema
import numpy as np
import pytest
from pyarrow import parquet

import divmatch
from tests.tolerances import SAME

LINE = "matrix p.npy q.npy near.npy"


def square(here, data, line, name="m.npy"):
    here(f"{line} -o {name} -q")
    return np.load(data / name)


def test_the_square_in_words(here):
    code, printed, _ = here(f"{LINE} -q")
    head, *body, foot = printed.splitlines()
    assert code == 0
    assert head.split() == ["p.npy", "q.npy", "near.npy"]
    assert [line.split()[0] for line in body] == ["p.npy", "q.npy", "near.npy"]
    assert [body[k].split()[k + 1] for k in range(3)] == ["0", "0", "0"]
    assert len({len(line) for line in (head, *body)}) == 1
    assert foot == "energy in data unit"


def test_every_pair_is_the_number_of_the_function(here, data):
    found = square(here, data, LINE)
    rows = [np.load(data / f"{name}.npy") for name in ("p", "q", "near")]
    for i in range(3):
        for j in range(i + 1, 3):
            assert found[i, j] == found[j, i] == divmatch.energy(rows[i], rows[j]).value


def test_asymmetric_metrics_give_both_directions(here, data):
    found = square(here, data, f"{LINE} --metric kl:method=gaussian")
    rows = [np.load(data / f"{name}.npy") for name in ("p", "q", "near")]
    for i in range(3):
        for j in range(3):
            expected = 0.0 if i == j else divmatch.kl(rows[i], rows[j], method="gaussian").value
            assert found[i, j] == expected


def test_one_bandwidth_for_all_pairs(here):
    results = json.loads(here(f"{LINE} --metric mmd -f json -q")[1])["results"]
    assert len({one["params"]["bandwidth"] for one in results}) == 1


def test_symmetric_pairs_are_computed_once(here):
    found = json.loads(here(f"{LINE} -f json --no-run -q")[1])
    jsonschema.validate(found, json.loads(here("schema result")[1]))
    assert [(one["row"], one["column"]) for one in found["results"]] == [(0, 1), (0, 2), (1, 2)]


def test_files_hold_the_same_square(here, data):
    here(f"{LINE} -q -o m.npy -o m.csv -o m.tsv -o m.parquet")
    expected = np.load(data / "m.npy")
    for name, mark in (("m.csv", ","), ("m.tsv", "\t")):
        lines = list(csv.reader((data / name).read_text().splitlines(), delimiter=mark))
        assert lines[0] == ["sample", "p.npy", "q.npy", "near.npy"]
        assert SAME(np.array([line[1:] for line in lines[1:]], dtype=float), expected)
    rows = parquet.read_table(data / "m.parquet").to_pylist()
    assert SAME(np.array([list(row.values())[1:] for row in rows]), expected)


def test_a_set_given_twice_has_two_columns(here):
    head = here("matrix p.npy q.npy q.npy -f csv -q")[1].splitlines()[0]
    assert head == "sample,p.npy,q.npy,q.npy (2)"


def test_intervals_that_take_subsamples_are_asked_for(here):
    line = "matrix line-p.npy line-q.npy --metric kl:method=knn -f json -q"
    plain, asked = (json.loads(here(line + f)[1])["results"][0] for f in ("", " --intervals"))
    assert plain["ci"] is None
    assert asked["ci"] is not None
    assert plain["value"] == asked["value"]
    assert plain["warnings"] == []


@pytest.mark.parametrize("form", ["value", "ndjson", "markdown", "junit", "github"])
def test_every_format_is_written(here, form):
    code, printed, _ = here(f"{LINE} -f {form} --max 100 -q")
    assert code == 0
    assert printed


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("matrix p.npy", 2),
        (f"{LINE} --max 0.01", 1),
        ("matrix p.npy narrow.npy", 2),
        ("matrix p.npy missing.npy", 2),
        ("matrix p.npy q.npy -o p.npy", 2),
        ("matrix constant.npy constant.npy --metric kl:method=gaussian", 3),
        ("energy p.npy q.npy -o x.npy", 2),
    ],
)
def test_exit_codes(here, line, code):
    assert here(line)[0] == code


def test_a_pair_without_a_number_is_empty(here, data):
    found = square(
        here, data, "matrix p.npy constant.npy q.npy --metric kl:method=gaussian", "g.npy"
    )
    assert np.isnan(found[0, 1])
    assert np.isfinite(found[0, 2])


def test_no_diagonal_where_larger_is_nearer(here, data):
    found = square(here, data, f"{LINE} --metric prdc:kind=recall", "recall.npy")
    assert np.isnan(np.diag(found)).all()
    printed = here(f"{LINE} --metric prdc:kind=recall -q")[1].splitlines()
    assert [printed[k + 1].split()[k + 1] for k in range(3)] == ["-", "-", "-"]
    assert printed[-1].endswith("larger is nearer")
