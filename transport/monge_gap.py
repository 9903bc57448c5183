"""The Monge gap: how much more a map costs than the cheapest transport to the same image."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.exact_solvers import solvers
from divmatch.transport.problem import Support

Array = NDArray[np.float64]

MOST = 5000  # rows of which a gap is computed


class Gap(NamedTuple):
    """The gap, the mean cost c(x, T(x)), and how many rows they come from."""

    value: float
    cost: float
    rows: int


def monge_gap(x: Samples, moved: Array, cost: str) -> Gap:
    """E c(x, T(x)) − W_c(P, T(P)) of the rows: 0 if and only if no other plan is cheaper.

    Exact transport between the rows and where they went, of at most 5,000 evenly spaced ones.
    """
    support = Support.of(x)
    count = len(support.rows)
    rows = support.rows if count <= MOST else support.rows[np.arange(MOST) * count // MOST]
    weights = None if x.weights is None else x.weights[rows] / x.weights[rows].sum()
    here = Samples(x.points[rows], weights, x.name)
    there = replace(here, points=np.ascontiguousarray(moved[rows]), name="T(x)", _derived={})
    masses = here.masses()
    paid = costs.ground_of(cost, 1.0).pairs(here.points, there.points)
    mean = math.fsum(masses * paid)
    (by,) = solvers([here, there], cost, 1.0, columnwise=False)
    least = by.unit * by.solve(here, there).cost
    gap = mean - least
    return Gap(0.0 if gap <= _rounding(here.points, there.points, mean) else gap, mean, len(rows))


def _rounding(x: Array, y: Array, mean: float) -> float:
    """What two sums of the same costs may differ by, coordinates being rounded as they are."""
    largest = float(max(np.abs(x).max(), np.abs(y).max()))
    coordinates = 2.0**-50 * largest * math.sqrt(x.shape[1])
    return 1e-12 * mean + coordinates * (math.sqrt(mean) + coordinates)
