"""Wasserstein dependence: how far the rows are from rows whose groups of columns are independent."""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate, Pooled
from divmatch.estimators.column_groups import Groups, X, Y, constant_columns, groups_of
from divmatch.estimators.mutual_information import MI, refuse_weights
from divmatch.estimators.quadratic import negative, rounding
from divmatch.estimators.row_order import lexicographic
from divmatch.kernels import transport
from divmatch.kernels.directions import directions
from divmatch.kernels.execution import in_order, steps_of
from divmatch.kernels.ground import Ground
from divmatch.kernels.quantiles import cumulated, weighted_cells
from divmatch.kernels.slices import Slices
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Places = NDArray[np.intp]
Orders = NDArray[np.int64]

EXACT_ROWS = 1000  # rows up to which a hundred exact problems are a matter of seconds
AT_ONCE = 4_000_000  # sorted projections of the references held at a time
GROUNDS = {"cityblock": Ground("absolute"), "euclidean": Ground("squares", 0.5)}

Distance = Annotated[
    Literal["auto", "cityblock", "euclidean", "sliced"],
    Setting("of two rows; auto: cityblock, but sliced above 1000 rows"),
]
References = Annotated[int, Setting("random pairings that stand for independence", least=2)]
Projections = Annotated[int, Setting("directions of sliced", least=2, most=1_000_000)]


@MI.estimator(
    "wasserstein",
    source="Ozair, Lynch, Bengio, van den Oord, Levine & Sermanet 2019, arXiv 1903.11780",
    title="Wasserstein dependence",
    unit="data unit",
)
def wasserstein(
    sample: Samples,
    *,
    x: X = None,
    y: Y = None,
    distance: Distance = "auto",
    references: References = 5,
    projections: Projections = 200,
    rng: "np.random.Generator",
) -> Estimate:
    """Wasserstein dependence: W₁ from the joint distribution to that of independent groups.

    I_W(X; Y) = W₁(P_XY, P_X ⊗ P_Y) with the distance Σ |x − x'| + Σ |y − y'| of two rows: zero if and
    only if X and Y are independent, in the unit of the columns, finite whatever the dependence. The
    product is stood for by random pairings of the rows of x with those of y; the value is the mean
    distance to them less the mean distance of two such pairings, which is what rows of this number
    have at independence: there it is zero on average, and negative half of the time (W01).

    Use it as a dependence that counts how far the columns move together and not only whether.
    Columns count by their scale: standardise them (--scale) unless they share a unit. Above 1000
    rows the distance is sliced (W54): the mean W₁ over directions of all columns, Euclidean and
    smaller; name a --distance to have the same number for all sizes.

    The interval holds what samples of this size have on average: with many columns the distance to a
    sample of the product is far above that to the product, in part only made up for by the
    subtraction. At independence it is not valid (W04): use --permutations.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    x : str
        Columns of the first group, as for the method ksg.
    y : str or list of str
        Columns of the other group, as for the method ksg.
    distance : str
        cityblock, euclidean of all columns, sliced, or auto.
    references : int
        Random pairings, at least 2. Half of the problems solved are of two of them.
    projections : int
        Directions of sliced.
    rng : Generator
        Draws the pairings and the directions.

    Returns
    -------
    Estimate
        Value in the unit of the columns, with the influence of every row: its potentials.

    Raises
    ------
    InconclusiveError
        With fewer than 2 rows that carry weight.

    Notes
    -----
    With weights a pairing has the marginals of the weighted rows; permutations, which would give y
    the weight of another row, are refused for them.

    Cost: 2 R exact problems of n rows for R references, 0.02 s each for 500 rows; sliced O(R L n (d +
    log n)) for L directions. B permutations half of B times that. Memory O(n d).

    Source: Ozair, Lynch, Bengio, van den Oord, Levine & Sermanet 2019 (NeurIPS, arXiv 1903.11780), whose
    critic is replaced by the exact distance.

    Examples
    --------
    >>> import divmatch
    >>> rows = [[-1.0, -1.0], [1.0, 1.0]] * 500
    >>> round(divmatch.mi(rows, method="wasserstein").value, 1)
    1.0
    """
    groups = groups_of(sample, x, y, command="mi")
    rows = Rows(sample, groups)
    chosen = distance
    if distance == "auto":
        chosen = "cityblock" if rows.n <= EXACT_ROWS else "sliced"
    params: dict[str, Any] = {"x": groups.x, "y": groups.y, "distance": chosen}
    notes = constant_columns(sample, groups, [rows.x, rows.y])
    if notes:
        return Estimate(0.0, np.zeros(sample.n), params=params, notes=notes)
    if rows.n < 2:
        raise InconclusiveError(f"{sample.name}: one row carries weight, at least 2 are needed")
    made = _Problem(rows, chosen, references, projections, rng).estimate()
    value = float(made.means.mean() - made.null.mean())
    error = math.hypot(
        *(
            float(part.std(ddof=1)) / len(part) ** 0.5
            for part in (made.means, made.null)
            if len(part) > 1
        ),
        made.error,
    )
    if chosen != distance and chosen == "sliced":
        message = (
            f"above {EXACT_ROWS} rows the distance is sliced, which is smaller: name a --distance to "
            "compare samples of different sizes"
        )
        notes = (Note("W54", message),)
    return Estimate(
        value,
        rows.spread(made.influence, sample.n),
        error=error,
        params=params,
        notes=(*notes, *negative(value, "dependence")),
    )


class Rows:
    """The rows that carry weight, in an order of their own: first by x, then by y."""

    def __init__(self, sample: Samples, groups: Groups) -> None:
        masses = sample.masses()
        self.kept = np.flatnonzero(masses > 0)
        self.x, self.y = (
            np.ascontiguousarray(sample.points[self.kept][:, list(group)])
            for group in groups.columns
        )
        self.masses = masses[self.kept] / masses[self.kept].sum()
        self.weighted = sample.weights is not None
        self.n = len(self.kept)

    def joint(self, order: Orders | None = None) -> Array:
        """Both groups side by side, the rows of y in another order."""
        return np.concatenate([self.x, self.y if order is None else self.y[order]], axis=1)

    def spread(self, values: Array, n: int) -> Array:
        """A number of these rows at all rows, 0 where there is no weight."""
        made = np.zeros(n)
        made[self.kept] = values
        return made


@dataclass(frozen=True, eq=False)
class _Pairing:
    """Rows of x with rows of y as chance has it, and the mass of each pair."""

    rows: Places
    columns: Places
    masses: Array
    points: Array


@dataclass(frozen=True, eq=False)
class _Found:
    """Distances to every pairing, of pairings to one another, the influence of every row."""

    means: Array
    null: Array
    influence: Array
    error: float


class _Problem:
    """The distances of one sample, in any order of its rows of y, to fixed random pairings.

    The pairings depend on the two groups alone and not on which row of y belongs to which of x, so that
    under independence every order is as likely as the observed one.
    """

    def __init__(
        self,
        rows: Rows,
        distance: str,
        references: int,
        projections: int,
        rng: "np.random.Generator",
    ) -> None:
        self.rows, rng = rows, deepcopy(rng)
        of_x = lexicographic(rows.x, rows.masses)
        of_y = lexicographic(rows.y, rows.masses)
        self.pairings = [_paired(rows, of_x, rng.permutation(of_y)) for _ in range(references)]
        links = references if references > 2 else 1
        self.pairs = [(r, (r + 1) % references) for r in range(links)]
        d = self.pairings[0].points.shape[1]
        self.directions = directions(d, projections, rng) if distance == "sliced" else None
        self.ground = GROUNDS.get(distance)

    def estimate(self) -> _Found:
        """All that the observed order says."""
        if self.ground is None:
            return self._sliced()
        often = len(self.pairings) + len(self.pairs)
        joint, masses = self.rows.joint(), self.rows.masses
        found = [self._moved(joint, masses, one, often) for one in self.pairings]
        means = np.array([plan.upper for plan, _, _ in found])
        parts = [
            self._influence(f, g, one) for (_, f, g), one in zip(found, self.pairings, strict=True)
        ]
        return _Found(means, self.null(), np.mean(parts, axis=0), 0.0)

    def null(self) -> Array:
        """Distances of pairings to one another."""
        if self.ground is None:
            assert self.directions is not None  # noqa: S101
            return self._sliced_null() @ self.directions.weights
        often = len(self.pairings) + len(self.pairs)

        def one(pair: tuple[int, int]) -> float:
            left, right = (self.pairings[r] for r in pair)
            return self._moved(left.points, left.masses, right, often)[0].upper

        return np.array([one(pair) for pair in self.pairs])

    def statistic(self, orders: Orders) -> Array:
        """The mean distance to the pairings, of every order of the rows of y."""
        if self.ground is None:
            return self._sliced_statistic(orders)
        often = orders.shape[1] * len(self.pairings)

        def one(order: Orders) -> float:
            joint = self.rows.joint(order)
            moved = (self._moved(joint, self.rows.masses, r, often)[0] for r in self.pairings)
            return sum(plan.upper for plan in moved) / len(self.pairings)

        work = float(self.rows.n) ** 2 * often
        return np.array(list(in_order(one, orders.T, work=work)))

    def _moved(
        self, points: Array, masses: Array, to: _Pairing, often: int
    ) -> tuple[transport.Plan, Array, Array]:
        """The cheapest plan, and the potentials of all rows of both sides."""
        assert self.ground is not None  # noqa: S101
        left, a, at_left = _atoms(points, masses, whole=not self.rows.weighted)
        right, b, at_right = _atoms(to.points, to.masses, whole=not self.rows.weighted)
        plan = transport.transported(self.ground, left, right, a, b, often=often)
        return plan, plan.f[at_left], plan.g[at_right]

    def _influence(self, f: Array, g: Array, to: _Pairing) -> Array:
        """Potentials of the rows, and of the pairs that a row of x and a row of y take part in."""
        n, a = self.rows.n, self.rows.masses
        made = f + sum(
            np.bincount(places, to.masses * g, minlength=n) / a for places in (to.rows, to.columns)
        )
        return np.asarray(made - a @ made)

    # ---------------------------------------------------------------------------------- sliced

    def _sliced(self) -> _Found:
        assert self.directions is not None  # noqa: S101
        joint, a = self.rows.joint(), self.rows.masses
        means, parts, costs = [], [], []
        for one in self.pairings:
            weights = (a, one.masses) if self.rows.weighted else None
            found = Slices(joint, one.points, 1, weights).influences(self.directions.vectors)
            costs.append(found.costs)
            means.append(self.directions.mean(found.costs))
            parts.append(self._influence(found.rows_x, found.rows_y, one))
        null = self._sliced_null()
        away = np.mean(costs, axis=0) - null.mean(axis=0)
        error = self.directions.error(away)
        return _Found(
            np.array(means), null @ self.directions.weights, np.mean(parts, axis=0), error
        )

    def _sliced_null(self) -> Array:
        """A row for each pair of pairings, a column for each direction."""
        assert self.directions is not None  # noqa: S101
        made = []
        for pair in self.pairs:
            left, right = (self.pairings[r] for r in pair)
            weights = (left.masses, right.masses) if self.rows.weighted else None
            made.append(
                Slices(left.points, right.points, 1, weights).costs(self.directions.vectors)
            )
        return np.array(made)

    def _sliced_statistic(self, orders: Orders) -> Array:
        """Projections of the pairings are sorted once for all orders."""
        assert self.directions is not None  # noqa: S101
        vectors, shares = self.directions.vectors, self.directions.weights
        width = self.rows.x.shape[1]
        size = max(1, AT_ONCE // (len(self.pairings) * self.rows.n))

        def block(part: slice) -> Array:
            lines = [np.sort(vectors[part] @ one.points.T, axis=1) for one in self.pairings]
            of_x = vectors[part, :width] @ self.rows.x.T
            of_y = vectors[part, width:] @ self.rows.y.T
            total = np.zeros(orders.shape[1])
            for b, order in enumerate(orders.T):
                joint = of_x + of_y[:, order]
                joint.sort(axis=1)
                total[b] = sum(shares[part] @ np.abs(joint - line).mean(axis=1) for line in lines)
            return total

        blocks: Iterator[slice] = steps_of(len(vectors), min(size, 16))
        summed = sum(in_order(block, blocks))
        return np.asarray(summed) / len(self.pairings)


def _paired(rows: Rows, of_x: Places, of_y: Places) -> _Pairing:
    """The rows of x one after the other with those of y, each with all of its mass."""
    if not rows.weighted:
        first, second, masses = of_x, of_y, rows.masses
    else:
        cells = weighted_cells(cumulated(rows.masses[of_x]), cumulated(rows.masses[of_y]))
        held = cells.lengths > 0
        first, second = of_x[cells.rows[held]], of_y[cells.columns[held]]
        masses = cells.lengths[held] / cells.lengths[held].sum()
    points = np.concatenate([rows.x[first], rows.y[second]], axis=1)
    return _Pairing(first, second, masses, points)


def _atoms(points: Array, masses: Array, *, whole: bool) -> tuple[Array, Array, Places]:
    """Distinct rows, their masses (numbers of rows where all weigh the same), and where each row is."""
    distinct, places = np.unique(points, axis=0, return_inverse=True)
    places = places.reshape(-1)
    held = np.bincount(places, None if whole else masses).astype(np.float64)
    return np.ascontiguousarray(distinct), held, places


# ----------------------------------------------------------------------------------- permutations


@wasserstein.pooled
def wasserstein_plan(
    pool: Samples,
    *,
    x: str | None,
    y: str | None,
    distance: str,
    references: int,
    projections: int,
    rng: "np.random.Generator",
) -> Pooled:
    """Distances of every order to the same pairings."""
    rows = prepared(pool, x, y)
    if rows is None:
        return nothing()
    problem = _Problem(rows, distance, references, projections, rng)
    null = float(problem.null().mean())
    size = float(sum(np.ptp(part, axis=0).sum() for part in (rows.x, rows.y)))
    return Pooled(
        lambda orders: problem.statistic(orders) - null,
        lambda: rounding(rows.n, size),
        draws="orders",
    )


def prepared(pool: Samples, x: str | None, y: str | None) -> Rows | None:
    """The rows of a permutation test; None where a group is constant."""
    refuse_weights(pool)
    groups = groups_of(pool, x, y, command="mi")
    rows = Rows(pool, groups)
    return None if rows.n < 2 or constant_columns(pool, groups, [rows.x, rows.y]) else rows


def nothing() -> Pooled:
    """Zero in every order: a constant group depends on nothing."""
    return Pooled(lambda orders: np.zeros(orders.shape[1]), draws="orders")
