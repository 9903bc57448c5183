"""Limits: what an interval that is not valid may decide, and what it may not."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from divmatch.cli.gate import Limits, verdict
from divmatch.record import Interval, Note, Result, Test

NEAR_ZERO = Note("W04", "near zero")


def result(value, low, high, *notes, p=None):
    return Result(
        metric="energy",
        method="u",
        value=value,
        unit="1",
        direction="symmetric",
        n=(50, 50),
        d=2,
        ci=Interval(0.95, low, high, "influence"),
        test=None if p is None else Test(p, "permutation", 99, {}),
        warnings=notes,
    )


def rule(found, **limits):
    made = verdict([found], Limits(**limits))
    return made["rules"][0]


MOVED = (0.23, 0.05, 0.07)  # the value of equal distributions, and an interval that misses zero


@pytest.mark.parametrize(
    ("numbers", "limits", "status"),
    [
        (MOVED, {"maximum": 0.03}, "inconclusive"),
        (MOVED, {"maximum": 0.03, "decide": "point"}, "fail"),
        (MOVED, {"maximum": 0.06}, "pass"),
        (MOVED, {"maximum": 0.1, "decide": "upper"}, "inconclusive"),  # the value is above
        (MOVED, {"maximum": 0.3, "decide": "upper"}, "pass"),
        (MOVED, {"minimum": 0.3}, "fail"),
        (MOVED, {"minimum": 0.1}, "inconclusive"),  # the value is above, the interval below
        (MOVED, {"minimum": 0.03, "decide": "upper"}, "inconclusive"),
        ((0.01, -0.02, 0.04), {"maximum": 0.02}, "pass"),
        ((0.03, -0.01, 0.07), {"maximum": 0.02}, "pass"),  # only evidence against the data fails
        ((0.01, -0.02, 0.04), {"maximum": 0.02, "decide": "upper"}, "inconclusive"),
        ((0.01, -0.02, 0.04), {"maximum": 0.05, "decide": "upper"}, "pass"),
        ((0.01, -0.02, 0.04), {"minimum": 0.03}, "pass"),
        ((0.01, -0.02, 0.04), {"minimum": 0.1}, "fail"),  # copies must not slip through
    ],
)
def test_near_zero_no_bound_shows_a_difference(numbers, limits, status):
    assert rule(result(*numbers, NEAR_ZERO), **limits)["status"] == status


def test_a_valid_interval_decides():
    assert rule(result(*MOVED), maximum=0.03)["status"] == "fail"


def test_what_is_inconclusive_says_what_to_do():
    found = rule(result(*MOVED, NEAR_ZERO), maximum=0.03)["rule"]
    assert found == (
        "energy lower 0.05 ? 0.03: not valid near zero; use --permutations or --decide point"
    )


def test_permutations_that_see_no_difference_decide_for_the_data():
    found = rule(result(*MOVED, NEAR_ZERO, p=0.4), maximum=0.03)
    assert (found["status"], found["rule"]) == ("pass", "energy p 0.4, no difference <= 0.03")


def test_permutations_that_see_a_difference_do_not_say_how_large():
    found = rule(result(*MOVED, NEAR_ZERO, p=0.01), maximum=0.03)
    assert found["status"] == "inconclusive"
    assert found["rule"].endswith("not valid near zero; use --decide point")


@pytest.mark.parametrize("decide", ["lower", "point", "upper"])
def test_an_infinite_value_is_inconclusive(decide):
    found = rule(result(math.inf, 0.0, math.inf), maximum=1, decide=decide)
    assert found["status"] == "inconclusive"


# ------------------------------------------------------------------------------ whole commands


@pytest.fixture
def wide(data):
    """Two samples of one distribution with more columns than rows."""
    rng = np.random.default_rng(3)
    for name in ("wide-p.npy", "wide-q.npy"):
        np.save(data / name, rng.normal(size=(40, 200)))
    return "wide-p.npy wide-q.npy"


@pytest.mark.parametrize(("rest", "code"), [("", 3), ("-B 99", 0), ("--decide point", 1)])
def test_a_bias_of_many_columns_fails_no_build(here, wide, rest, code):
    assert here(f"sliced {wide} --max 0.001 -q {rest}")[0] == code


def test_an_interval_that_misses_its_value_says_why(here, wide):
    assert "(interval moved by bias 0." in here(f"sliced {wide} -q")[1]


def test_an_interval_around_its_value_needs_no_words(here):
    assert "moved" not in here("sliced p.npy q.npy -q")[1]


def test_weights_on_one_row_allow_no_decision(here, data):
    np.save(data / "one.npy", np.where(np.arange(500), 1e-300, 1.0))
    code, _, errors = here("kl p.npy q.npy --method knn --weights-p one.npy --max 1")
    assert (code, "one row carries all the weight" in errors) == (3, True)


# ---------------------------------------------------------------- the document and the exit code


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        ("score p.npy missing.npy q.npy --metrics energy --max 10", 2, "error"),
        ("score p.npy missing.npy q.npy --metrics energy --max 0.001", 2, "error"),
        ("score p.npy missing.npy q.npy --metrics energy --max 10 --exit-zero", 2, "error"),
        ("energy p.npy near.npy --max 10 --strict", 2, "error"),
        ("energy p.npy q.npy --max 0.001 --exit-zero", 0, "fail"),
        ("score p.npy constant.npy q.npy --metrics kl:method=gaussian --max 9", 3, "inconclusive"),
    ],
)
def test_the_document_tells_the_exit_code(here, line, code, status):
    found, printed, _ = here(f"{line} -f json")
    made = json.loads(printed)["verdict"]
    assert (found, made["exit_code"], made["status"]) == (code, code, status)


def test_what_is_not_converged_decides_no_limit():
    found = replace(result(0.5, 0.4, 0.6), status="inconclusive")
    assert rule(found, maximum=0.1)["status"] == "inconclusive"
    assert rule(found, maximum=9.0)["status"] == "inconclusive"


def test_kinds_are_told_apart_where_one_of_them_has_no_number(here, data):
    np.save(data / "single.npy", np.load(data / "p.npy")[:1])
    _, printed, _ = here("prdc p.npy single.npy --max 0.5 -f json -q")
    document = json.loads(printed)
    ids = [f"prdc:kind={kind}" for kind in ("precision", "recall", "density", "coverage")]
    assert [one["id"] for one in document["results"]] == ids
    assert document["verdict"]["rules"][1]["rule"].endswith("? 0.5: no number")
