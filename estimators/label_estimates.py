"""From counted labels to an estimate: which function of the counts, its influences, its warnings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate, Labels, Pooled
from divmatch.estimators import label_counts as labelled
from divmatch.estimators.balls import Membership, Place, places, sums_in_balls
from divmatch.estimators.generators import alpha as power_generator
from divmatch.estimators.generators import generator
from divmatch.estimators.label_bias import first_order, first_order_power
from divmatch.estimators.label_counts import Counts
from divmatch.kernels.execution import in_order
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

SATURATED = 0.05  # share of rows out of reach from which the estimate is called too small
SPLITS = 32  # splits counted at once
SMALLEST_K = 5


@dataclass(frozen=True, eq=False)
class Reading:
    """What is read off the counts: a value and its influences, the share of rows out of reach.

    ``sharp`` is what the value would be about, if the balls did not blur the ratio.
    """

    value: Callable[[Counts], float]
    sharp: Callable[[Counts], float]
    influences: Callable[[Counts], tuple[Array, Array]]
    unseen: Callable[[Counts], float]


def f_reading(kind: str, form: str, floor: float) -> Reading:
    """D_f(P || Q), gamma-corrected or in the form of the paper."""
    g = generator(kind)
    if form == "paper" and floor == 0 and math.isinf(g.at_zero):
        raise SettingError(
            f"--ratio-floor 0: {kind} is infinite at ratio 0, which the form of the paper gives to rows "
            "without neighbours in P; give a floor above 0, or take the gamma form"
        )

    def value(counts: Counts) -> float:
        if form == "paper":
            return labelled.paper(counts, g, floor)
        return labelled.divergence(counts, kind, floor)

    return Reading(
        value,
        lambda c: first_order(c, kind),
        lambda c: labelled.influences(c, g),
        lambda c: labelled.unseen(c, g.at_zero, g.at_infinity),
    )


def renyi_reading(order: float, tsallis: bool, form: str, floor: float) -> Reading:
    """R_a = ln(I_a) / (a − 1), or Tsallis' (I_a − 1) / (a − 1); KL at a = 1."""
    if math.isinf(order):
        raise SettingError(
            "--alpha inf: the largest ratio cannot be estimated from samples; every --alpha 2,4,8,16 is "
            "a lower bound, the larger the nearer"
        )
    if order == 1:
        return f_reading("kl", form, floor)
    g = power_generator(order)

    def log_power(c: Counts) -> tuple[float, float]:
        if form == "gamma":
            return labelled.power(c, order)
        mean = float(c.b @ np.maximum(c.plain_y, floor) ** order)
        return math.copysign(1.0, mean), math.log(mean) if mean else -math.inf

    def value(c: Counts) -> float:
        sign, log = log_power(c)
        if tsallis:
            return (sign * _exp(log) - 1.0) / (order - 1.0)
        if not (sign > 0 and log > -math.inf):
            raise InconclusiveError(
                f"renyi: the estimated mean of (p/q)^{order:g} is not positive; the samples hardly "
                "overlap, or k is too small for this order"
            )
        return log / (order - 1.0)

    def sharp(c: Counts) -> float:
        power = first_order_power(c, order)
        if tsallis:
            return (power - 1.0) / (order - 1.0)
        return math.log(power) / (order - 1.0) if power > 0 else math.inf

    def influences(c: Counts) -> tuple[Array, Array]:
        at_x, at_y = labelled.influences(c, g)
        scale = order if tsallis else order / _exp(log_power(c)[1])
        return scale * at_x, scale * at_y

    def unseen(c: Counts) -> float:
        if order > 1:
            return labelled.unseen_x(c)
        return min(labelled.unseen_x(c), labelled.unseen_y(c))  # infinite only without any overlap

    return Reading(value, sharp, influences, unseen)


def _exp(log: float) -> float:
    return math.exp(log) if log < labelled.LARGEST else math.inf


# ------------------------------------------------------------------------------------ counting


def automatic(k: int | str, n: int, m: int) -> int:
    """The number of neighbours: √min(n, m), at least 5."""
    return max(SMALLEST_K, round(math.sqrt(min(n, m)))) if k == "auto" else int(k)


def weighted_rows(samples: Samples) -> NDArray[np.bool_] | None:
    """The rows that carry weight; None where all do."""
    if samples.weights is None or samples.weights.all():
        return None
    return samples.weights > 0


def sizes(x: Samples, y: Samples) -> tuple[int, int]:
    """Rows with weight in either sample."""
    n, m = (int(np.count_nonzero(s.masses())) for s in (x, y))
    return n, m


def counted(x: Samples, y: Samples, ks: Sequence[int]) -> list[Counts]:
    """The counts of two samples for every k, made once for all settings and rivals of one call."""
    known: dict[int, Counts] = y.once(("labels", id(x)), lambda: (x, {}))[1]
    missing = [k for k in ks if k not in known]
    if missing:
        known.update(zip(missing, _counted(x, y, missing), strict=True))
    return [known[k] for k in ks]


def _counted(x: Samples, y: Samples, ks: Sequence[int]) -> list[Counts]:
    parts = [s if rows is None else s.take(rows) for s in (x, y) for rows in [weighted_rows(s)]]
    points = np.concatenate([part.points for part in parts])
    weights = None
    if any(part.weights is not None for part in parts):
        weights = np.concatenate([part.masses() for part in parts])
    of_x = np.arange(len(points)) < parts[0].n
    place, split = places(points), Split(of_x, weights)
    sums = sums_in_balls(place, ks, split.at_points(place))
    return [split.counts(place, sums[:, j]) for j in range(len(ks))]


class Split:
    """A pool of rows divided in two: what a row counts as, and the sizes.

    A row counts as its share aᵢ of its sample times the effective size 1 / Σ aᵢ²: as 1 if all are equal.
    """

    def __init__(self, of_x: NDArray[np.bool_], weights: Array | None) -> None:
        self.of_x = of_x
        self.a, self.n = _shares(of_x, weights)
        self.b, self.m = _shares(~of_x, weights)
        if not (self.n > 1 and self.m > 1):
            raise InconclusiveError("one row has no neighbours of its own; more rows are needed")
        self.equal = weights is None
        self.worth = np.ones(len(of_x))
        if not self.equal:
            self.worth[of_x], self.worth[~of_x] = self.a * self.n, self.b * self.m

    def at_points(self, place: Place) -> Array:
        """What the rows of P and of Q at every point count as; shape (v, 2)."""
        return np.column_stack([place.sums(self.worth * side) for side in (self.of_x, ~self.of_x)])

    def counts(self, place: Place, sums: Array) -> Counts:
        """The counts of all rows from the sums (v, 2) in the balls around the points."""
        around = sums[place.of_row]
        x, y = around[self.of_x], around[~self.of_x]
        own_x, own_y = (
            self._without(x[:, 0], self.of_x, self.n),
            self._without(y[:, 1], ~self.of_x, self.m),
        )
        return Counts(own_x, x[:, 1], own_y, y[:, 0], self.a, self.b, self.n, self.m)

    def _without(self, sums: Array, rows: NDArray[np.bool_], size: float) -> Array:
        """The counts without the row itself, whose weight the others of its sample share."""
        own = self.worth[rows]
        left = np.maximum(sums - own, 0.0)
        if self.equal:
            return left
        others = size - own
        return np.divide(left * (size - 1.0), others, out=np.zeros(len(left)), where=others > 0)


def _shares(rows: NDArray[np.bool_], weights: Array | None) -> tuple[Array, float]:
    """The weights of some rows, summing to 1, and their effective number."""
    count = int(np.count_nonzero(rows))
    if weights is None:
        return np.full(count, 1.0 / max(count, 1)), float(count)
    part = weights[rows]
    total = part.sum()
    if not total > 0:
        raise InconclusiveError("a sample without weight has no neighbours")
    part = part / total
    return part, float(1.0 / np.sum(part**2))


# ----------------------------------------------------------------------------------- estimates


def estimated(
    reading: Reading,
    x: Samples,
    y: Samples,
    ks: Sequence[int],
    mixture: Array,
    params: Mapping[str, Any],
) -> Estimate:
    """The mixture of the values for every k, with influences; a warning where labels saturate."""
    every = counted(x, y, ks)
    value = float(mixture @ [reading.value(c) for c in every])
    if not math.isfinite(value):
        raise InconclusiveError(
            f"{x.name} and {y.name}: powers of the ratio are too large for a number; take a smaller order"
        )
    slopes = [reading.influences(c) for c in every]
    blur = value - float(mixture @ [reading.sharp(c) for c in every])
    blur = blur if math.isfinite(blur) else 0.0
    share = reading.unseen(every[-1])
    notes: tuple[Note, ...] = ()
    if share > SATURATED:
        message = (
            f"{share:.0%} of the rows have neighbours from one sample only: the ratio is out of reach of "
            f"{ks[-1]} neighbours and the divergence may be far larger, or inf"
        )
        notes = (Note("W07", message),)
    lonely = float(every[-1].a @ (every[-1].own_x == 0))
    if lonely > SATURATED:
        message = (
            f"{lonely:.0%} of the rows of P have no other row of P among their {ks[-1]} neighbours: the "
            "ratio is too large there; give more rows of P or a larger k"
        )
        notes = (*notes, Note("W29", message))
    return Estimate(
        value,
        terms_x=_terms(x, mixture, [at_x for at_x, _ in slopes]),
        terms_y=_terms(y, mixture, [at_y for _, at_y in slopes]),
        bias=0.5 * blur,
        doubt=0.5 * abs(blur),
        params={**params, "saturated": share},
        notes=notes,
    )


def _terms(samples: Samples, mixture: Array, terms: list[Array]) -> Array:
    """The influences of all rows, 0 for those without weight."""
    rows = weighted_rows(samples)
    mixed = sum((w * t for w, t in zip(mixture, terms, strict=True)), np.zeros(len(terms[0])))
    if rows is None:
        return mixed
    made = np.zeros(samples.n)
    made[rows] = mixed
    return made


def planned(reading: Reading, pool: Samples, ks: Sequence[int], mixture: Array) -> Pooled:
    """The balls once; each split only counts labels."""
    kept = weighted_rows(pool)
    if kept is not None:
        pool = pool.take(kept)
    place = places(pool.points)
    balls = Membership(place, ks)

    def several(labels: Labels) -> list[float]:
        splits = [_split(labels[:, b], pool.weights) for b in range(labels.shape[1])]
        known = [split for split in splits if split is not None]
        if not known:
            return [math.nan] * len(splits)
        sums = balls.sums(np.concatenate([split.at_points(place) for split in known], axis=1))
        values = iter(
            [_value(reading, split, place, [s[:, 2 * b : 2 * b + 2] for s in sums], mixture)
             for b, split in enumerate(known)]
        )  # fmt: skip
        return [math.nan if split is None else next(values) for split in splits]

    def statistic(labels: Labels) -> Array:
        labels = labels if kept is None else labels[kept]
        starts = range(0, labels.shape[1], SPLITS)
        parts = in_order(lambda s: several(labels[:, s : s + SPLITS]), starts)
        return np.concatenate([np.asarray(part) for part in parts])

    return Pooled(statistic, lambda: 1024 * float(np.finfo(float).eps))


def _split(of_x: NDArray[np.bool_], weights: Array | None) -> Split | None:
    """None where a part has too little weight: it has no number, and counts against us."""
    try:
        return Split(of_x, weights)
    except InconclusiveError:
        return None


def _value(
    reading: Reading, split: Split, place: Place, sums: list[Array], mixture: Array
) -> float:
    try:
        return float(mixture @ [reading.value(split.counts(place, part)) for part in sums])
    except InconclusiveError:
        return math.nan
