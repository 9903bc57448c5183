"""Biased values with any number of rows: near the unbiased method, which is the oracle."""

import numpy as np
import pytest

from divmatch.estimator import parse_metric, quantity
from divmatch.extrapolation import parts_bias
from divmatch.samples import as_samples
from tests.tolerances import LUCK


def pair(seed, n=300, m=200, d=3):
    rng = np.random.default_rng([13, seed])
    return as_samples(rng.normal(size=(n, d)), "x"), as_samples(rng.normal(0.5, 1, (m, d)), "y")


@pytest.mark.parametrize("name", ["energy", "mmd"])
@pytest.mark.parametrize("seed", range(4))
def test_the_bias_is_what_the_unbiased_method_lacks(name, seed):
    x, y = pair(seed)
    settings = {"bandwidth": 1.5} if name == "mmd" else {}
    v, u = (quantity(name).methods[method] for method in ("v", "u"))
    expected = v(x, y, **v.checked(settings)).value - u(x, y, **u.checked(settings)).value
    bias, se = parts_bias(v, x, y, v.checked(settings))
    assert se < expected / 10
    assert bias == pytest.approx(expected, abs=LUCK(se))


def test_an_unbiased_method_has_none():
    estimator, settings = parse_metric("energy")
    assert parts_bias(estimator, *pair(0), settings) == (0.0, 0.0)
