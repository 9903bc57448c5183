"""Intervals: standard errors from influence terms or subsamples, and the bias that they are moved by."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.designs import Design
from divmatch.errors import InconclusiveError, SampleError
from divmatch.estimator import Estimate, Estimator, influence_se
from divmatch.kernels.execution import execution, in_order
from divmatch.randomness import stream
from divmatch.record import Interval, Note
from divmatch.samples import Samples

NEIGHBOURS_NOISE = 0.3  # share of the variance that a mean over sparser samples does not have
FARTHEST = 5.0  # most that a bias may be, times its growth on subsamples: about ten columns


@dataclass(frozen=True)
class Subsampled:
    """The mean of an estimate on subsamples of a fraction of the rows; its error on all rows."""

    mean: float
    se: float
    fraction: float
    values: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)


def subsampled(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    several: Sequence[Mapping[str, Any]],
    seed: int,
    design: Design | None = None,
    fraction: float | None = None,
) -> list[Subsampled | None]:
    """Evaluate on subsamples of a fraction q = min(n, m)^(-1/3) of both samples.

    The standard error is their standard deviation times sqrt(q / (1 − q)). They are drawn without
    replacement, because a bootstrap would create tied rows; 1 − q corrects for the finite
    population. Politis & Romano 1994. With a design whole groups of rows are drawn.

    At the same q the rows of x do not depend on y: values of several candidates share the luck of
    the reference, and what is computed from its subsamples.
    """
    none: list[Subsampled | None] = [None] * len(several)
    given = [samples for samples in (x, y) if samples is not None]
    if fraction is None:
        fraction = fraction_of(*given) if design is None else design.fraction()
    if fraction == 1:
        return none
    if design is None:
        drawn = [
            _parts(one, estimator.subsamples, fraction, seed, k) for k, one in enumerate(given)
        ]
    else:
        rng = stream(seed, "subsampling", estimator.quantity.name)
        rows = [design.subset(rng) for _ in range(estimator.subsamples)]
        drawn = [
            map(one.take, own) for one, own in zip(given, zip(*rows, strict=True), strict=False)
        ]

    def values(parts: tuple[Samples, ...]) -> list[float]:
        return [estimator(*parts, **settings).value for settings in several]

    try:
        work = math.prod(fraction * one.n for one in given) * given[0].d
        found = np.array(list(in_order(values, zip(*drawn, strict=True), work=work)))
    except (SampleError, InconclusiveError):
        return none
    spread = found.std(axis=0, ddof=1) * math.sqrt(fraction / (1 - fraction))
    return [
        Subsampled(float(mean), float(se), fraction, own) if np.isfinite(se) else None
        for mean, se, own in zip(found.mean(axis=0), spread, found.T, strict=True)
    ]


def fraction_of(*given: Samples) -> float:
    """The share of the rows in a subsample."""
    return float(min(samples.n for samples in given) ** (-1 / 3))


def _parts(
    samples: Samples, many: int, fraction: float, seed: int, place: int
) -> Iterable[Samples]:
    """Random parts; those of a reference are kept if there is room, with the trees made of them."""

    def rows() -> list[NDArray[np.intp]]:
        rng, size = stream(seed, "subsampling", str(place)), int(fraction * samples.n)
        draws = (rng.choice(samples.n, size, replace=False, shuffle=False) for _ in range(many))
        return [np.sort(own) for own in draws]

    if place or many * fraction * samples.points.nbytes > execution().memory / 32:
        return map(samples.take, rows())
    key = ("subsamples", many, fraction, seed)
    return samples.once(key, lambda: [samples.take(own) for own in rows()])


@dataclass(frozen=True)
class Correction:
    """The bias that the interval is moved by, the standard error of value − bias, the bias's doubt.

    ``factor`` is the bias over its growth on subsamples: how far it was extrapolated.
    """

    bias: float
    se: float
    doubt: float = 0.0
    factor: float = 0.0

    def notes(self) -> tuple[Note, ...]:
        """Say when the interval is more a matter of extrapolation than of the rows."""
        if self.factor == 0 or (self.factor <= FARTHEST and abs(self.bias) <= 2 * self.se):
            return ()
        return (
            Note(
                "W13",
                f"the interval rests on a bias of {self.bias:.3g}, extrapolated from subsamples: "
                "it is not reliable; give more rows, fewer columns or another method",
            ),
        )


def extrapolated(value: float, found: Subsampled, rate: float) -> Correction:
    """The bias of a value whose bias falls like n^(-rate), from its growth on subsamples.

    On a fraction q of the rows the bias is q^(-rate) times as large: it is c (mean − value) with
    c = 1 / (q^(-rate) − 1). Rates are rough, so that half of it is added to the width as doubt.

    The mean over sparser subsamples lacks the noise of the single neighbours, a share s = 0.3 of
    the variance (measured: .2 to .6). So value − bias = (1 + c) value − c mean has the variance
    (1 − s) se² + s (1 + c)² se².
    """
    factor = 1 / (found.fraction**-rate - 1)
    bias = factor * (found.mean - value)
    se = found.se * math.sqrt(1 + NEIGHBOURS_NOISE * (factor * factor + 2 * factor))
    return Correction(bias, se, abs(bias) / 2, factor)


def interval_of(
    estimator: Estimator,
    estimate: Estimate,
    found: Subsampled | None,
    x: Samples,
    y: Samples | None,
    level: float,
    design: Design | None = None,
) -> tuple[float | None, Interval | None, float, tuple[Note, ...]]:
    """Standard error of the value, interval, bias that the interval is moved by, warnings."""
    if not math.isfinite(estimate.value):
        return None, None, estimate.bias, ()
    if estimator.interval == "influence":
        se, resamples = influence_se(estimate, x, y), 0
        if se is None and design is None:
            se = estimate.se
        if design is not None and y is not None:
            se = design.se(estimate, x, y)
    elif estimator.interval == "blocks":
        se, resamples = estimate.blocks.se if estimate.blocks else None, 0
    elif estimator.interval == "two-way":
        se, resamples = estimate.se, 0
    else:
        se, resamples = found.se if found else None, estimator.subsamples
        if estimator.standard_error:
            se = estimator.standard_error(estimate, found, x, y)
    if se is not None and math.isnan(se) and estimate.notes:
        return None, None, estimate.bias, ()  # the estimator has said why there is none
    if se is None or not math.isfinite(se):
        sizes = ", ".join(str(samples.n) for samples in (x, y) if samples is not None)
        few = Note("W10", f"n = {sizes}: too few rows for a standard error")
        return None, None, estimate.bias, (few,)
    se = math.hypot(se, estimate.error or 0.0)
    correction = Correction(estimate.bias, se, estimate.doubt)
    if found and estimator.rate:
        correction = extrapolated(estimate.value, replace(found, se=se), estimator.rate(x.d))
    notes = correction.notes()
    said = {note.code for note in estimate.notes}
    degenerate = estimator.quantity.degenerate and estimator.interval == "influence"
    if degenerate and estimate.value < 2 * se and "W04" not in said:
        notes = (
            *notes,
            Note(
                "W04",
                f"value is not above two standard errors ({estimate.value:.3g} < 2 x {se:.2g}): "
                "the interval is not valid there",
            ),
        )
    centre = estimate.value - correction.bias
    width = normal_quantile(0.5 + level / 2)
    half = width * correction.se + correction.doubt
    low, high = centre - half, centre + half
    if estimate.share:
        low, high = of_share(estimate.value, se, width)
    return se, Interval(level, low, high, estimator.interval, resamples), correction.bias, notes


def added(share: float, size: float) -> float:
    """The share with two more rows in and two more out (Agresti & Coull 1998): never 0 or 1."""
    return (size * share + 2) / (size + 4)


def of_share(share: float, se: float, width: float) -> tuple[float, float]:
    """Wilson's interval (1927) for as many independent rows as have this standard error."""
    few, many = 1e-9, 1e18
    for _ in range(100):
        size = math.sqrt(few * many)
        p = added(share, size)
        few, many = (size, many) if p * (1 - p) > size * se * se else (few, size)
    weight = width * width / size
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    low, high = min(centre - half, share), max(centre + half, share)  # rounding apart
    return max(low, 0.0), min(high, 1.0)


def normal_quantile(probability: float) -> float:
    """The standard normal's quantile."""
    if probability == 0.975:
        return 1.959963984540054  # the default level must not pay 15 ms for `statistics`
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
