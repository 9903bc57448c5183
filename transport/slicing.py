"""What all methods of sliced share: their settings, the samples' slices, and what chance makes of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError, counted
from divmatch.estimator import Array
from divmatch.kernels.slices import Slices
from divmatch.kernels.slicings import LINEAR, Slicing
from divmatch.record import Note
from divmatch.samples import LARGEST, Samples
from divmatch.settings import Setting
from divmatch.transport.exact_costs import scale_of

Order = Annotated[
    float | Literal["riesz"],
    Setting("order p of the distance; riesz for the energy distance", least=1),
]
Projections = Annotated[
    int | Literal["auto"],
    Setting("number of random directions; auto is 100 or 4 d, the larger", least=4),
]

Rows = NDArray[Any]  # whole numbers: positions of rows

MOST_MONOMIALS = 2000  # as many numbers has a direction
TOLD = 1e-12  # of the widest range: distances that are not of rounding alone
FEWEST = 4  # rows of a sample that can be halved
KEYS = 3  # columns that put rows in order; those that agree in them may stand in any


def parse_slices(text: str) -> str:
    """The name of a slicing with its number, or say which there are."""
    name, colon, number = text.partition(":")
    try:
        value = float(number) if colon else 1.0
    except ValueError:
        value = math.nan
    if text == "linear":
        return text
    if name == "circular" and colon and 0 < value < math.inf:
        return f"circular:{value:g}" if float(f"{value:g}") == value else f"circular:{value!r}"
    if name == "polynomial" and colon and value >= 1 and value % 2 == 1:
        return "linear" if value == 1 else f"polynomial:{value:.0f}"
    raise SettingError(
        f"--slices {text}: expected linear, circular:R with a radius R above 0, or polynomial:K with an "
        "odd degree K"
    )


def slicing_of(text: str, *samples: Samples) -> Slicing:
    """The slicing called ``text``, if it suits the samples."""
    name, _, number = text.partition(":")
    if name == "linear":
        return LINEAR
    made, d = Slicing(name, float(number)), samples[0].d
    if made.columns(d) > MOST_MONOMIALS:
        raise SettingError(
            f"--slices {text}: {counted(d, 'column')} have {made.columns(d):,} monomials of this degree, "
            f"at most {MOST_MONOMIALS:,}; choose a lower degree, or fewer --columns"
        )
    if name == "polynomial":
        for one in samples:
            largest = float(np.abs(one.points).max())
            if largest > LARGEST ** (1 / made.number):
                raise SampleError(
                    f"{one.name}: the largest value is {largest:.3g}, too large for its power "
                    f"{number}; divide all rows by a constant first"
                )
    return made


@dataclass(frozen=True, eq=False)
class Sliced:
    """Two samples to be sliced, in units in which no p-th power overflows."""

    x: Samples
    y: Samples
    p: float
    slicing: Slicing
    scale: float

    @classmethod
    def of(cls, x: Samples, y: Samples, p: float, slicing: Slicing = LINEAR) -> "Sliced":
        """A reference that is kept for the next candidate has a scale of its own only for p > 2."""
        scale = 1.0
        if p > 2 and slicing.name == "polynomial":
            largest = max(float(np.abs(one.points).max()) for one in (x, y))
            scale = 2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0
        elif p > 2:
            scale = scale_of(x.points, y.points)
        return cls(x, y, p, slicing, scale)

    @property
    def d(self) -> int:
        """The number of components of a direction."""
        return self.slicing.columns(self.x.d)

    @property
    def unit(self) -> float:
        """What the value is measured in: the scale, to the power of a polynomial's degree."""
        return self.scale ** (self.slicing.number if self.slicing.name == "polynomial" else 1.0)

    def slices(self) -> Slices:
        """The distances of the samples along any directions."""
        x, y = self.x, self.y
        weights = None if x.weights is None and y.weights is None else (x.masses(), y.masses())
        if self.scale == 1.0:
            return Slices(x.points, y.points, self.p, weights, x.once, self.slicing)
        slicing = self.slicing
        if slicing.name == "circular":
            slicing = Slicing("circular", slicing.number / self.scale)
        of_x, of_y = (one.points / self.scale for one in (x, y))
        return Slices(of_x, of_y, self.p, weights, slicing=slicing)

    def ordered(self) -> "Sliced":
        """The rows that carry weight, and the samples, in an order of their own; weights to forty bits.

        What is looked for among them by many steps depends on no order, to the last digit.
        """
        parts = []
        for one in (self.x, self.y):
            order = np.lexsort(one.points[:, :KEYS].T)
            if one.weights is not None:
                order = order[one.weights[order] > 0]
            weights = one.weights
            if weights is not None:
                weights = np.rint(weights[order] / weights.max() * 2.0**40)
                weights = np.maximum(weights, 1.0) / np.maximum(weights, 1.0).sum()
            parts.append(replace(one, points=one.points[order], weights=weights, _derived={}))
        parts.sort(key=lambda one: (one.n, one.points[[0, -1]].tolist(), float(one.points.sum())))
        return replace(self, x=parts[0], y=parts[1])

    def root(self, cost: float) -> float:
        """The value of a mean p-th power."""
        return float(self.unit * max(cost, 0.0) ** (1 / self.p))

    def influence(self, terms: Array, samples: Samples, cost: float) -> Array:
        """Potentials of the p-th power as influences on the value; both vanish with it."""
        centred = terms - samples.masses() @ terms
        slope = self.slope(cost)
        return np.asarray(self.unit * (centred / slope if slope > 0 else centred))

    def slope(self, cost: float) -> float:
        """Of the p-th power, at the root."""
        return float(self.p * cost ** (1 - 1 / self.p)) if cost > 0 else 0.0

    def half(self, first: int, rows: tuple[Rows, Rows]) -> "Sliced | None":
        """The even or odd places of both samples in the order of ``rows``; None without any weight."""
        parts = []
        for one, order in zip((self.x, self.y), rows, strict=True):
            places = np.sort(order[first::2])
            if one.weights is not None and not one.weights[places].max() > 0:
                return None
            parts.append(one.take(places))
        return Sliced(parts[0], parts[1], self.p, self.slicing, self.scale)

    def orders(self, rng: "np.random.Generator") -> tuple[Rows, Rows]:
        """Random orders of both samples' rows."""
        return rng.permutation(self.x.n), rng.permutation(self.y.n)

    def chance(self, cost: Callable[["Sliced"], float], rng: "np.random.Generator") -> float | None:
        """The p-th power that samples of these sizes from one distribution are apart, from halves.

        Both halves of a sample are of one distribution; the p-th power goes with the p-th root of
        the variance of a mean. None where a sample is too small.
        """
        if min(self.x.n, self.y.n) < FEWEST:
            return None
        share = sum(1.0 / one.effective_size() for one in (self.x, self.y))
        orders, found = self.orders(rng), []
        halves = [self.half(first, orders) for first in (0, 1)]
        if halves[0] is None or halves[1] is None:
            return None
        for left, right in ((halves[0].x, halves[1].x), (halves[0].y, halves[1].y)):
            own = 1.0 / left.effective_size() + 1.0 / right.effective_size()
            value = cost(Sliced(left, right, self.p, self.slicing, self.scale))
            found.append(value * (share / own) ** (self.p / 2))
        return 0.5 * sum(found)


def check_told(sliced: Sliced, cost: float, vectors: Array) -> None:
    """Refuse a power of distances that cannot be told from 0, where the distances can."""
    if cost == 0.0 and sliced.p > 2:
        plain = replace(sliced, p=1.0).slices().costs(vectors)
        if plain.max() > TOLD:
            raise InconclusiveError(
                f"sliced -p {sliced.p:g}: of {sliced.x.name} and {sliced.y.name} these powers of the "
                "distances are too small for numbers; choose a smaller -p"
            )


def near_null(sliced: Sliced, cost: float, chance: float) -> tuple[Note, ...]:
    """With many columns the value at P = Q is many standard errors from zero: only this tells."""
    if cost == 0 or cost > 2 * chance:
        return ()
    return (
        Note(
            "W04",
            f"samples of these sizes from one distribution would be about {sliced.root(chance):.3g} "
            f"apart: at {sliced.root(cost):.3g} the interval is not valid",
        ),
    )


def refuse_riesz(p: float | str, method: str) -> float:
    """The order as a number."""
    if isinstance(p, str):
        raise SettingError(
            f"sliced --method {method}: -p {p} belongs to w; expected a number, at least 1"
        )
    return p
