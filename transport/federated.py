"""Federated Wasserstein distance: two parties meet on a measure between theirs and keep their rows.

A measure ξ that both know is moved towards each party's own one; the party hands back a point on the
way, an interpolating measure, and from the two the next ξ is made, between them. W(ξ, P) + W(ξ, Q) is
never below W(P, Q), and equal to it when ξ lies on a shortest way from P to Q.

Rakotomamonjy, Nadjahi & Ralaivola 2023 (NeurIPS, arXiv 2310.01973), Algorithm 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.kernels import transport
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.exact_costs import scale_of

Array = NDArray[np.float64]

FALLING = 0.05  # of the bound: a last round from which more rounds would lower it
THIN = 1e-12  # of the largest mass: a pair below it is rounding
NORMS = ("euclidean", "cityblock", "chebyshev", "lp:")  # straight lines are shortest ways


@dataclass(frozen=True, eq=False)
class Measure:
    """Atoms (s, d) and their masses (s,), which sum to 1."""

    points: Array
    masses: Array

    @classmethod
    def of(cls, samples: Samples) -> "Measure":
        """Distinct rows that carry weight."""
        masses = samples.masses()
        kept = masses > 0
        return merged(samples.points[kept], masses[kept])


@dataclass(frozen=True)
class Terms:
    """What both parties agree on.

    ``time`` is where between two measures the next one lies, None for a random place each round;
    ``support`` the atoms of the first ξ, ``most`` those that any may have.
    """

    p: float = 2.0
    cost: str = "euclidean"
    support: int = 200
    most: int = 2000
    exact: bool = True
    rounds: int = 20
    tol: float = 1e-4
    time: float | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse costs between whose rows straight lines are not shortest."""
        if not self.cost.startswith(NORMS):
            raise SettingError(
                f"--federated: --cost {self.cost} is no norm of a difference; expected euclidean, "
                "cityblock, chebyshev or lp:Q"
            )
        if self.support > self.most:
            raise SettingError(
                f"--support {self.support}: is above --max-support {self.most}; no first measure has "
                "room"
            )

    def first(self, d: int) -> Measure:
        """Where it begins: standard normal atoms, which tell nothing of anybody's rows."""
        points = stream(self.seed, "federated", "support").standard_normal((self.support, d))
        return Measure(points, np.full(self.support, 1.0 / self.support))

    def times(self) -> Iterator[tuple[float, float, float]]:
        """Where each round's three interpolations take place: of both parties, and of their results."""
        rng = stream(self.seed, "federated", "times")
        while True:
            drawn = rng.random(3).tolist() if self.time is None else [self.time] * 3
            yield drawn[0], drawn[1], drawn[2]


@dataclass(frozen=True, eq=False)
class Step:
    """One measure moved to another: how far they are apart, and the measure on the way."""

    distance: float
    between: Measure
    proven: bool = True
    capped: bool = False


def moved(start: Measure, end: Measure, at: float, terms: Terms) -> Step:
    """W_p of two measures, and the measure that is the share ``at`` of the way on.

    Exactly it has an atom for every pair of the plan; where these are too many, or not asked for, an
    atom for every one of ``start``, which goes towards the mean of where its mass goes.
    """
    scale = scale_of(start.points, end.points)
    ground = costs.ground_of(terms.cost, terms.p)
    x, y = start.points / scale, end.points / scale
    plan = transport.transported(ground, x, y, start.masses, end.masses, often=terms.rounds)
    distance = scale * max(plan.upper, 0.0) ** (1 / terms.p)
    held = plan.masses > THIN * plan.masses.max()
    rows, columns, masses = plan.rows[held], plan.columns[held], plan.masses[held]
    if terms.exact:
        points = (1 - at) * start.points[rows] + at * end.points[columns]
        whole = merged(points, masses)
        if len(whole.masses) <= terms.most:
            return Step(distance, whole, plan.proven)
    towards = np.zeros_like(start.points)
    np.add.at(towards, rows, masses[:, None] * end.points[columns])
    gone = np.bincount(rows, masses, minlength=len(start.masses))
    towards = np.where(gone[:, None] > 0, towards / np.maximum(gone, 1e-300)[:, None], start.points)
    points = (1 - at) * start.points + at * towards
    return Step(distance, Measure(points, start.masses), plan.proven, capped=terms.exact)


def merged(points: Array, masses: Array) -> Measure:
    """Atoms in one place as one, in an order that depends on nothing but the places."""
    distinct, places = np.unique(points, axis=0, return_inverse=True)
    held = np.bincount(places.reshape(-1), masses)
    return Measure(np.ascontiguousarray(distinct), held / held.sum())


@dataclass
class Course:
    """The bounds round by round, and when they have settled."""

    terms: Terms
    bounds: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    capped: bool = False
    proven: bool = True

    def add(self, support: Measure, *steps: Step) -> None:
        """One round: ξ and both parties' steps."""
        self.note(support, *(step.distance for step in steps))
        self.capped |= any(step.capped for step in steps)
        self.proven &= all(step.proven for step in steps)

    def note(self, support: Measure, *distances: float) -> None:
        """One round by its distances."""
        self.bounds.append(sum(distances))
        self.sizes.append(len(support.masses))

    @property
    def best(self) -> float:
        """The least bound: all of them hold."""
        return min(self.bounds)

    @property
    def settled(self) -> bool:
        """Whether the last round changed next to nothing."""
        if len(self.bounds) < 2:
            return False
        before, last = self.bounds[-2:]
        return abs(last - before) <= self.terms.tol * max(last, before)

    @property
    def done(self) -> bool:
        """Whether no further round is to come."""
        return self.settled or len(self.bounds) >= self.terms.rounds

    def params(self) -> dict[str, Any]:
        """What the record says of it."""
        return {
            "p": self.terms.p,
            "cost": self.terms.cost,
            "interpolation": "exact" if self.terms.exact else "barycentric",
            "rounds": len(self.bounds),
            "support": self.sizes[-1],
            "time": "random" if self.terms.time is None else self.terms.time,
        }

    def notes(self) -> tuple[Note, ...]:
        """What kept it from the end."""
        made = []
        if not self.settled and self.terms.time is not None:  # random places move the bound
            made.append(
                Note(
                    "W18",
                    f"the bound still moved by more than {self.terms.tol:g} in round "
                    f"{len(self.bounds)}; raise --rounds",
                )
            )
        before = min(self.bounds[:-1], default=0.0)
        fall = 1.0 - self.bounds[-1] / before if before > 0 else 0.0
        if self.terms.time is None and fall > FALLING:
            made.append(
                Note("W18", f"the bound still fell by {fall:.0%} in the last round; raise --rounds")
            )
        if not self.proven:
            made.append(Note("W18", "a transport problem on the way was not proven optimal"))
        return tuple(made)


def alone(x: Measure, y: Measure, terms: Terms) -> tuple[Course, Measure]:
    """Both parties in one process: the bounds, and the last measure that they met on."""
    course, support = Course(terms), terms.first(x.points.shape[1])
    for at_x, at_y, at in terms.times():
        first, second = moved(support, x, at_x, terms), moved(support, y, at_y, terms)
        course.add(support, first, second)
        if course.done:
            break
        support = met(second.between, first.between, at, terms, course)
    return course, support


def met(second: Measure, first: Measure, at: float, terms: Terms, course: Course) -> Measure:
    """The next ξ, between what the parties handed back."""
    step = moved(second, first, at, terms)
    course.capped |= step.capped
    return step.between
