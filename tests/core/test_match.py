"""Before and after: fits never see the rows they are judged on, and what does not converge decides nothing."""

import numpy as np
import pytest

from divmatch.estimator import quantity
from divmatch.inference import infer
from divmatch.match import matched
from divmatch.matcher import Fit, Matcher, task
from divmatch.samples import as_samples
from tests.tolerances import ROUNDING

WEIGHTS = task("weights")


def numbered(n, start):
    """Rows that tell their own number."""
    return as_samples(np.arange(start, start + n, dtype=float), "x")


def spying(seen, *, extends=True, converged=True):
    """A method that keeps equal weights and remembers which rows it was given."""

    def fit(x, y):
        known = {*x.points[:, 0], *y.points[:, 0]}

        def extend(samples):
            seen.append((known, {*samples.points[:, 0]}))
            return samples

        return Fit(weights=x.masses(), extend=extend if extends else None, converged=converged)

    return Matcher(WEIGHTS, "spy", fit, (), "none", "always")


def test_held_out_rows_are_not_those_of_the_fit():
    seen = []
    matched(spying(seen), numbered(21, 0), numbered(30, 100), {})
    assert [known & judged for known, judged in seen] == [set(), set()]


def test_every_row_is_held_out_once():
    seen = []
    matched(spying(seen), numbered(21, 0), numbered(30, 100), {})
    assert sorted(row for _, judged in seen for row in judged) == list(range(21))


def test_figures_are_the_means_of_both_halves():
    """Equal weights change nothing: before and after are the estimate of two pairs of halves."""
    rng = np.random.default_rng(0)
    x, y = as_samples(rng.normal(size=(40, 2)), "x"), as_samples(rng.normal(size=(30, 2)), "y")
    found = matched(spying([]), x, y, {})
    assert found.before.value == pytest.approx(found.after.value, abs=ROUNDING(70))
    assert found.held_out == "both"


def test_without_an_extension_all_rows_of_p_are_judged_with_every_pair():
    found = matched(spying([], extends=False), numbered(21, 0), numbered(30, 100), {})
    assert (found.held_out, found.after.method) == ("Q", "v")


def test_a_fit_that_did_not_converge_decides_nothing():
    found = matched(spying([], converged=False), numbered(21, 0), numbered(30, 100), {})
    assert found.after.status == "inconclusive"
    assert "W68" in [note.code for note in found.after.warnings]


def test_the_interval_covers_what_a_larger_sample_says():
    """Weights that do nothing: the cross-fitted interval is the interval of all rows, nearly."""
    rng = np.random.default_rng(1)
    x, y = as_samples(rng.normal(size=(400, 2)), "x"), as_samples(rng.normal(0.5, 1, (400, 2)), "y")
    found = matched(spying([]), x, y, {}).after
    whole = infer(quantity("energy").chosen("u"), x, y, {"power": 1.0, "invariant": None})
    assert found.ci.low < whole.value < found.ci.high
    assert found.se == pytest.approx(whole.se, rel=0.1)


def test_too_few_rows_to_hold_some_out_say_so():
    found = matched(spying([]), numbered(3, 0), numbered(30, 100), {})
    assert found.after.status == "inconclusive"
    assert "W70" in [note.code for note in found.after.warnings]
