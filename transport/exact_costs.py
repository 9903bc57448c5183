"""Exact transport between two samples: what fits, what is one row, and the cheapest plan."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError, at_row
from divmatch.kernels import transport
from divmatch.kernels.execution import execution
from divmatch.kernels.ground import Ground
from divmatch.kernels.quantiles import cumulated, weighted_cells
from divmatch.samples import Samples

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]
Arcs = tuple[NDArray[Any], NDArray[Any], Array]  # rows, columns, masses

NO_NUMBERS = (
    "ot: of {} and {} these powers of the distances are too {} for numbers; choose a smaller -p, or "
    "--orlicz power:P"
)
HIDDEN = 1e-9  # relative gap from which the cost is looked for among smaller ones
THIN = 1e-9  # of the lighter of its two parts: a cell that only rounding has made


@dataclass(frozen=True, eq=False)
class Moved:
    """The smallest mean cost, what proves it, and the potentials of all rows, weighted or not.

    All in powers of the scale that the points were divided by. ``arcs`` lists who goes where.
    """

    cost: float
    lower: float
    f: Array
    g: Array
    arcs: Callable[[], Arcs]
    proven: bool = True
    noise: float = 0.0  # what sampling alone makes of it, where that is known


def on_sphere(samples: Samples) -> Samples:
    """Rows of length √½: half of |x/|x| − y/|y||² is 1 − cos."""
    largest = np.abs(samples.points).max(axis=1)
    empty = np.flatnonzero(largest == 0)
    if len(empty):
        raise SampleError(
            f"{samples.name}: all numbers are zero {at_row(int(empty[0]))}, which has no direction; "
            "leave the row out, or choose another --cost than cosine"
        )
    points = samples.points / largest[:, None]
    points /= np.sqrt(2.0 * np.einsum("ij,ij->i", points, points))[:, None]
    return replace(samples, points=points, _derived={})


def check_room(x: Samples, y: Samples) -> None:
    """Refuse before any work what does not fit."""
    needed = transport.bytes_needed(x.n, y.n, x.d)
    if needed > execution().memory:
        raise SettingError(
            f"ot needs {needed / 2**30:.2g} GiB for {x.n} x {y.n} rows; use divmatch sliced or "
            "sinkhorn, --sample N, or --memory"
        )


def scale_of(*points: Array) -> float:
    """A power of two near the widest range: dividing by it is exact, and no power overflows."""
    low, high = (edge([edge(one, axis=0) for one in points], axis=0) for edge in (np.min, np.max))
    span = float((high - low).max())
    return 2.0 ** math.floor(math.log2(span)) if span > 0 else 1.0


def moved(x: Samples, y: Samples, ground: Ground, scale: float, often: int) -> Moved:
    """The cheapest plan between all rows that have a weight; ``often`` such problems are to come.

    Gains are told from rounding at the scale of the dearest arc that may be in a plan. Where that
    of the whole box hides the cost, as between clusters far apart, it is looked for below what the plan
    that was found allows.
    """
    posed = Posed(x, y, scale)
    solver = posed.solver(ground, often=often)
    if not math.isfinite(solver.height):
        raise InconclusiveError(NO_NUMBERS.format(x.name, y.name, "large"))
    plan, before = solver.plan(), float(solver.height)
    while plan.upper - plan.lower > HIDDEN * plan.upper:
        height = posed.room * plan.upper
        if not 0.0 < height < 0.5 * before:
            break
        # from the start: dear arcs stay in a tree, without a mass, and all prices hang on them
        _, plan = posed.below(None, ground, height, often)
        before = height
    if plan.upper == 0.0 and ground.degree > 2.0 and posed.apart(plan):
        raise InconclusiveError(NO_NUMBERS.format(x.name, y.name, "small"))
    return posed.moved(plan)


class Posed:
    """A problem of two samples as masses on their distinct rows, divided by ``scale``."""

    def __init__(self, x: Samples, y: Samples, scale: float) -> None:
        check_room(x, y)
        self.x, self.y = (Atoms(samples, scale) for samples in (x, y))
        self.a, self.b = self.x.masses, self.y.masses
        if x.weights is None and y.weights is None:  # whole numbers, so that masses stay exact
            common = math.gcd(x.n, y.n)
            self.a, self.b = self.a * (y.n // common), self.b * (x.n // common)
        else:
            self.a, self.b = self.a / self.a.sum(), self.b / self.b.sum()

    def solver(self, ground: Ground, *, often: int = 1, height: float | None = None) -> Any:
        """What finds the cheapest plan, and goes on from it when the costs change."""
        return transport.solver(
            ground, self.x.points, self.y.points, self.a, self.b, often=often, height=height
        )

    @property
    def room(self) -> float:
        """An arc of masses of 1 / n costs no more than n times what the plan does."""
        return 2.0 * max(len(self.a), len(self.b))

    def below(
        self, solver: Any, ground: Ground, height: float, often: int
    ) -> tuple[Any, transport.Plan]:
        """The cheapest plan, of arcs below about ``height``, from the last one; and what found it."""
        if solver is None:
            solver = self.solver(ground, often=often, height=height)
        else:
            solver.again(ground, height)
        plan: transport.Plan = solver.plan()
        while plan.masses.sum() < 1.0 - 1e-9:  # too low: some of the mass has stayed
            height *= 16.0
            solver.again(ground, height)
            plan = solver.plan()
        return solver, plan

    def apart(self, plan: transport.Plan) -> bool:
        """Whether any mass moves."""
        return bool(np.any(self.x.points[plan.rows] != self.y.points[plan.columns]))

    def moved(self, plan: transport.Plan) -> Moved:
        """A plan between the distinct rows, told of all rows."""

        def arcs() -> Arcs:
            rows, parts = self.x.divided(plan.rows, plan.masses)
            columns, whole = self.y.divided(plan.columns[parts[0]], parts[1])
            return rows[whole[0]], columns, whole[1]

        f, g = self.x.of_rows(plan.f), self.y.of_rows(plan.g)
        return Moved(plan.upper, plan.lower, f, g, arcs, plan.proven)


def joined(a: Array, b: Array) -> Arcs:
    """Two divisions of one mass laid side by side: the parts of both that meet, and what they share."""
    cells = weighted_cells(cumulated(a), cumulated(b))
    lighter = np.minimum(a[cells.rows] / a.sum(), b[cells.columns] / b.sum())
    kept = cells.lengths > THIN * lighter
    return cells.rows[kept], cells.columns[kept], cells.lengths[kept]


class Atoms:
    """The distinct rows of a sample that have a weight, and the mass on each."""

    def __init__(self, samples: Samples, scale: float) -> None:
        self.n = samples.n
        self.kept: slice | Numbers
        self.kept = slice(None) if samples.weights is None else np.flatnonzero(samples.weights > 0)
        points = samples.points[self.kept] / scale
        masses = np.ones(self.n) if samples.weights is None else samples.weights[self.kept]
        self.places = _same(points)
        self.points, self.masses, self.each = points, masses, masses
        if self.places is not None:
            first = np.unique(self.places, return_index=True)[1]
            self.points = points[first]
            self.masses = np.bincount(self.places, masses).astype(np.float64)

    def divided(self, atoms: NDArray[Any], masses: Array) -> tuple[Numbers, tuple[Any, Array]]:
        """Rows behind the masses of atoms, with the places of the masses that they are parts of."""
        numbers = np.arange(self.n)[self.kept]
        if self.places is None:
            return numbers[atoms], (np.arange(len(atoms)), masses)
        order, by_atom = np.argsort(atoms, kind="stable"), np.argsort(self.places, kind="stable")
        parts, rows, shares = joined(masses[order], self.each[by_atom])
        return numbers[by_atom[rows]], (order[parts], shares)

    def of_rows(self, values: Array) -> Array:
        """A number of each atom at all of its rows; 0 at rows without a weight, where none counts."""
        made = np.zeros(self.n)
        made[self.kept] = values if self.places is None else values[self.places]
        return made


def _same(points: Array) -> Numbers | None:
    """Which distinct row each row is, or None where all are distinct."""
    order = np.lexsort(points.T)
    new = (np.diff(points[order], axis=0) != 0).any(axis=1)
    if new.all():
        return None
    places = np.empty(len(points), dtype=np.intp)
    places[order] = np.concatenate([[0], np.cumsum(new)])
    return places
