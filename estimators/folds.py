"""Folds: the rows of both samples standardised and dealt, each fold to be scored by what the others say."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, counted
from divmatch.estimators.invariance import Group
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Folds = Annotated[int, Setting("folds of the cross-fitting", least=2, most=100)]

MEDIAN_ROWS = 1000  # pairs of rows whose distances give the scale of features and kernels


@dataclass(frozen=True, eq=False)
class Deal:
    """The pooled rows that carry weight, dealt into folds.

    Columns are scaled to mean 0 and sd 1 where each sample counts one half, and constant ones left
    out. Rows and columns are put in an order of their own, so that the order in which they came
    moves no digit. ``mass`` sums to 1 in each sample. ``group`` acts on these columns.
    """

    points: Array
    sign: Array
    mass: Array
    fold: NDArray[np.intp]
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    group: Group | None = None

    @property
    def p(self) -> NDArray[np.bool_]:
        """Which rows are of P."""
        return self.sign > 0

    def images(self) -> Iterator[Array]:
        """The rows moved by every element of the group."""
        if self.group is None:
            yield self.points
        else:
            yield from (self.group.moved(self.points, move) for move in self.group.moves)


def dealt(
    x: Samples, y: Samples, folds: int, rng: "np.random.Generator", group: Group | None = None
) -> Deal:
    """Both samples, standardised and dealt: every fold gets its share of either.

    Scales that are the group's own leave it a group of signed permutations.
    """
    columns = np.lexsort(_moments(x.points, x.masses(), y.points, y.masses(), group))
    parts = [_sorted(samples, columns, folds) for samples in (x, y)]
    (u, a, of_x), (v, b, of_y) = parts
    group = group and group.among(columns)
    spread, mean = _moments(u, a, v, b, group)
    varies = spread > 1e-13 * np.abs(mean)
    points = (np.concatenate([u, v])[:, varies] - mean[varies]) / spread[varies]
    fold = [rng.permutation(np.arange(len(mass)) % folds) for mass in (a, b)]
    return Deal(
        points=points,
        sign=np.repeat([1.0, -1.0], [len(u), len(v)]),
        mass=np.concatenate([a, b]),
        fold=np.concatenate(fold),
        rows=(of_x, of_y),
        group=group and group.among(np.flatnonzero(varies)),
    )


def folds_of_rows(
    x: Samples, y: Samples, folds: int, rng: "np.random.Generator", group: Group | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The fold of every row of either sample as `dealt`, -1 for those without weight."""
    deal = dealt(x, y, folds, rng, group)
    made = np.full(x.n, -1), np.full(y.n, -1)
    made[0][deal.rows[0]] = deal.fold[deal.p]
    made[1][deal.rows[1]] = deal.fold[~deal.p]
    return made


def _moments(
    u: Array, a: Array, v: Array, b: Array, group: Group | None = None
) -> tuple[Array, Array]:
    """Sd and mean of every column, each sample counting one half, and each image alike."""
    mean = 0.5 * (a @ u + b @ v)
    if group is not None:
        mean = group.mean(mean)
    squares = 0.5 * (a @ (u - mean) ** 2 + b @ (v - mean) ** 2)
    return np.sqrt(squares if group is None else group.mean_square(squares)), mean


def _sorted(
    samples: Samples, columns: NDArray[np.intp], folds: int
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Rows that carry weight in lexicographic order, their masses and their numbers."""
    masses = _rounded(samples.masses())
    kept = np.flatnonzero(masses > 0)
    if len(kept) < folds:
        verb = "carries" if len(kept) == 1 else "carry"
        raise InconclusiveError(
            f"{samples.name}: {counted(len(kept), 'row')} {verb} weight, at least {folds} are needed, one "
            "for every fold; give more rows"
        )
    points = samples.points[np.ix_(kept, columns)]
    order = np.lexsort((masses[kept], *points.T[::-1]))
    kept = kept[order]
    return points[order], masses[kept] / masses[kept].sum(), kept


def _rounded(masses: Array) -> Array:
    """Masses with 40 bits: weights that differ by the rounding of their sum give the same fit."""
    fraction, exponent = np.frexp(masses)
    return np.ldexp(np.round(np.ldexp(fraction, 40)), exponent - 40)


def shares(deal: Deal, folds: int) -> Array:
    """Share of every row in the loss of every fold's critic, (N, K): one half for each sample."""
    outside = deal.fold[:, None] != np.arange(folds)
    mass = np.where(outside, deal.mass[:, None], 0.0)
    for rows in (deal.p, ~deal.p):
        mass[rows] *= 0.5 / mass[rows].sum(axis=0)
    return mass


def placed_rows(x: Samples, y: Samples, deal: Deal, values: Array) -> tuple[Array, Array]:
    """Values of the dealt rows at the places that the rows came from, 0 for rows without weight."""
    made = np.zeros(x.n), np.zeros(y.n)
    made[0][deal.rows[0]] = values[deal.p]
    made[1][deal.rows[1]] = values[~deal.p]
    return made


def median_distance(deal: Deal, rng: "np.random.Generator") -> float:
    """Median distance of pairs of rows drawn by weight; 1 where most coincide."""
    probability = 0.5 * deal.mass
    pairs = rng.choice(len(probability), (2, MEDIAN_ROWS), p=probability / probability.sum())
    left, right = deal.points[pairs[0]], deal.points[pairs[1]]
    if deal.group is not None:
        left, right = deal.group.scattered(left, rng), deal.group.scattered(right, rng)
    gaps = left - right
    median = float(np.median(np.sqrt(np.einsum("ij,ij->i", gaps, gaps))))
    return median if median > 0 else 1.0
