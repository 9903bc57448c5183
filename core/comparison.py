"""Differences of divergences from one shared reference, which is counted once."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import Estimate, Estimator
from divmatch.inference import (
    estimate_of,
    result_of,
    seed_of,
)
from divmatch.intervals import SUBSAMPLES, Subsampled, extrapolated, normal_quantile
from divmatch.kernels.execution import in_order, one_blas_thread
from divmatch.permutations import shuffled_pool
from divmatch.randomness import stream
from divmatch.record import Interval, Note, Result
from divmatch.samples import Samples, check_partners

Array = NDArray[np.float64]
POWER = 0.8  # of the experiment that would settle a gap


@dataclass(frozen=True, eq=False)
class Standing:
    """One candidate's divergence from the reference, with what its difference from another's needs.

    ``settings`` are checked, those left to the data fixed. ``of_reference`` and ``of_rows`` are the
    deviations that the rows of the reference and of the candidate account for: the sum of their
    squares is the variance. ``draws`` are the values on subsamples of a fraction of all rows, with
    the same rows of the reference for all candidates.
    """

    result: Result
    estimate: Estimate
    of_reference: Array | None = None
    of_rows: Array | None = None
    draws: Array | None = None
    fraction: float = 1.0
    rate: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """D(reference, A) − D(reference, B): negative where A is nearer.

    ``p_value`` is two-sided and normal: at most 1 − level exactly where the interval lacks 0.
    """

    value: float
    level: float
    se: float | None = None
    low: float | None = None
    high: float | None = None
    bias: float = 0.0
    resamples: int = 0
    p_value: float | None = None

    @property
    def interval(self) -> Interval | None:
        """The interval, with its method."""
        if self.low is None or self.high is None:
            return None
        method = "subsampling" if self.resamples else "influence"
        return Interval(self.level, self.low, self.high, method, self.resamples)

    def growth(self) -> float | None:
        """How many times as many rows would tell such a gap from 0 in four cases out of five.

        Standard errors fall like n^(-1/2): ((z₁ + z₂) se / |gap|)², at the level of the interval.
        """
        return _growth(self.value - self.bias, self.se, self.level)


def standings(
    estimator: Estimator,
    reference: Samples,
    candidates: Sequence[Samples],
    settings: Mapping[str, Any],
    *,
    level: float = 0.95,
    seed: int = 0,
    paired: bool = False,
) -> list[Standing]:
    """Estimate every candidate against the reference, whose subsamples they share.

    Parameters
    ----------
    estimator : Estimator
        The divergence.
    reference : Samples
        P; its trees and within-sums are computed once.
    candidates : sequence of Samples
        Q, one after another.
    settings : mapping
        Checked settings. Those left to the data are fixed for all candidates: see `held`.
    level, seed : float, int
        Of intervals and randomness.
    paired : bool
        Whether equal row numbers of the candidates belong together.

    Returns
    -------
    list of Standing
        In the order of the candidates.
    """
    for candidate in candidates:
        check_partners(reference, candidate)
    if paired:
        check_pairs(candidates)
    with one_blas_thread(), np.errstate(all="ignore"):
        seeded = {**settings, **seed_of(estimator, seed)}
        estimates = [estimate_of(estimator, reference, y, seeded) for y in candidates]
        found = held(estimator, seeded, reference, candidates, estimates)
        seeded |= found
        if any(one.params[key] != found[key] for one in estimates for key in found):
            estimates = [estimate_of(estimator, reference, y, seeded) for y in candidates]
        drawn, fraction = None, 1.0
        if estimator.interval == "subsampling":
            drawn, fraction = _draws(estimator, reference, candidates, seeded, seed, paired)
        made = []
        for k, (y, estimate) in enumerate(zip(candidates, estimates, strict=True)):
            draws = None if drawn is None else drawn[:, k]
            spread = None if draws is None else _summary(draws, fraction)
            known = {key: seeded[key] for key in settings}
            result = result_of(estimator, reference, y, known, estimate, spread, level)
            one = standing(estimator, reference, y, estimate, result)
            made.append(replace(one, draws=draws, fraction=fraction, settings=known))
    chosen = _choices(made)
    if chosen is not None:
        made = [replace(one, result=_noted(one.result, chosen)) for one in made]
    return made


def standing(
    estimator: Estimator,
    reference: Samples,
    candidate: Samples,
    estimate: Estimate,
    result: Result,
) -> Standing:
    """What later comparisons need of one estimate."""
    notes = tuple(
        replace(note, message=note.message.removesuffix("; use --permutations for a p-value"))
        for note in result.warnings
    )
    known = estimator.interval == "influence"
    rate = estimator.rate(reference.d) if estimator.rate else None
    named = replace(result, sample=candidate.name, warnings=notes)
    return Standing(
        named,
        estimate,
        of_reference=_deviations(reference, estimate.terms_x) if known else None,
        of_rows=_deviations(candidate, estimate.terms_y) if known else None,
        rate=rate,
    )


def difference(a: Standing, b: Standing, *, level: float, paired: bool = False) -> Difference:
    """D(reference, A) − D(reference, B), its interval and normal p-value.

    Influences of the reference's rows are subtracted row by row, so that what they have in common
    cancels; those of A and B too if ``paired``. Monte Carlo errors count as independent, which is
    cautious: methods that draw directions draw the same for A and B.
    """
    value = a.result.value - b.result.value
    bias = a.estimate.bias - b.estimate.bias
    doubt = a.estimate.doubt + b.estimate.doubt
    if not math.isfinite(value):
        return Difference(value, level)
    resamples = 0
    if a.draws is not None and b.draws is not None:
        found, resamples = _summary(a.draws - b.draws, a.fraction), SUBSAMPLES
        se = spread = None if found is None else found.se
        if found is not None and a.rate is not None:
            correction = extrapolated(value, found, a.rate)
            bias, doubt, spread = correction.bias, correction.doubt, correction.se
    else:
        se = spread = _spread(a, b, paired)
    if se is None or spread is None:
        return Difference(value, level, bias=bias)
    error = math.hypot(a.estimate.error or 0.0, b.estimate.error or 0.0)
    se, spread = math.hypot(se, error), math.hypot(spread, error)
    centre = value - bias
    half = normal_quantile(0.5 + level / 2) * spread + doubt
    return Difference(
        value,
        level,
        se=se,
        low=centre - half,
        high=centre + half,
        bias=bias,
        resamples=resamples,
        p_value=_normal_p(max(abs(centre) - doubt, 0.0), spread),
    )


def held(
    estimator: Estimator,
    settings: Mapping[str, Any],
    reference: Samples,
    candidates: Sequence[Samples],
    estimates: Sequence[Estimate],
) -> dict[str, Any]:
    """The settings that were left to the data, fixed, the same for all candidates.

    As they came out if that is the same for all, else as they come out for all candidates together.
    """
    words = [
        s.name
        for s in estimator.settings
        if isinstance(settings[s.name], str) and {int, float} & set(s.types)
    ]
    found = [{key: one.params[key] for key in words if key in one.params} for one in estimates]
    if all(one == found[0] for one in found):
        return found[0]
    pool = candidates[0]
    for candidate in candidates[1:]:
        pool = shuffled_pool(pool, candidate, 0)[0]
    params = estimator(reference, pool, **settings).params
    return {key: params[key] for key in words if key in params}


def growth(result: Result) -> float | None:
    """The `Difference.growth` of a difference that has become a result."""
    bias = result.bias["estimate"] if result.bias else 0.0
    return _growth(result.value - bias, result.se, result.ci.level if result.ci else 0.95)


def check_pairs(candidates: Sequence[Samples]) -> None:
    """Refuse to pair what has other numbers of rows or other weights."""
    first = candidates[0]
    for other in candidates[1:]:
        if other.n != first.n:
            raise SampleError(
                f"--paired: {first.name} has {first.n} rows, {other.name} has {other.n}; rows that "
                "belong together come in equal numbers"
            )
        if not np.array_equal(first.masses(), other.masses()):
            raise SettingError(
                f"--paired: rows of {first.name} and {other.name} that belong together have "
                "different weights; leave --weights out"
            )


# ------------------------------------------------------------------------------------ parts


def _growth(gap: float, se: float | None, level: float) -> float | None:
    if se is None or not math.isfinite(gap) or gap == 0:
        return None
    return ((normal_quantile(0.5 + level / 2) + normal_quantile(POWER)) * se / gap) ** 2


def _deviations(samples: Samples, terms: Array | None) -> Array | None:
    """aᵢ (ψᵢ − ψ̄) / √(1 − Σ aᵢ²): the squares add up to the variance; see `se_of_terms`."""
    if terms is None:
        return None
    weights = samples.masses()
    left = 1.0 - float(weights @ weights)
    if samples.n < 2 or left <= 0:
        return None
    made: Array = weights * (terms - weights @ terms) / math.sqrt(left)
    return made


def _spread(a: Standing, b: Standing, paired: bool) -> float | None:
    if a.of_reference is None or b.of_reference is None or a.of_rows is None or b.of_rows is None:
        return None
    parts = [a.of_reference - b.of_reference]
    parts += [a.of_rows - b.of_rows] if paired else [a.of_rows, b.of_rows]
    variance = sum(float(part @ part) for part in parts)
    return math.sqrt(variance) if math.isfinite(variance) else None


def _normal_p(distance: float, spread: float) -> float | None:
    """Two-sided, above 0; none where nothing varies."""
    if spread == 0:
        return 1.0 if distance == 0 else None
    return max(math.erfc(distance / spread / math.sqrt(2)), sys.float_info.min)


def _draws(
    estimator: Estimator,
    reference: Samples,
    candidates: Sequence[Samples],
    settings: Mapping[str, Any],
    seed: int,
    paired: bool,
) -> tuple[Array | None, float]:
    """Values on subsamples, a row a draw; every candidate meets the same rows of the reference."""
    every = (reference, *candidates)
    fraction = min(samples.n for samples in every) ** (-1 / 3)
    if fraction == 1:
        return None, fraction
    labels = ["reference", *("0" if paired else str(k) for k in range(len(candidates)))]
    streams = [stream(seed, estimator.quantity.name, "comparison", label) for label in labels]
    rows = [
        [
            np.sort(rng.choice(one.n, int(fraction * one.n), replace=False, shuffle=False))
            for rng, one in zip(streams, every, strict=True)
        ]
        for _ in range(SUBSAMPLES)
    ]

    def values(chosen: list[NDArray[np.intp]]) -> list[float]:
        part = reference.take(chosen[0])
        parts = (y.take(own) for y, own in zip(candidates, chosen[1:], strict=True))
        return [estimator(part, y, **settings).value for y in parts]

    try:
        return np.array(list(in_order(values, rows))), fraction
    except (SampleError, InconclusiveError):
        return None, fraction


def _summary(draws: Array, fraction: float) -> Subsampled | None:
    se = float(draws.std(ddof=1)) * math.sqrt(fraction / (1 - fraction))
    return Subsampled(float(draws.mean()), se, fraction) if math.isfinite(se) else None


def _choices(made: Sequence[Standing]) -> Note | None:
    """Say when a method that chooses by itself has chosen differently."""
    chosen = [str(one.estimate.params.get("chosen", "")) for one in made]
    if len(set(chosen)) < 2:
        return None
    listed = ", ".join(
        f"{word} for {one.result.sample}" for word, one in zip(chosen, made, strict=True)
    )
    return Note(
        "W41", f"the automatic choice took {listed}; name one with method= to compare alike"
    )


def _noted(result: Result, note: Note) -> Result:
    return replace(
        result,
        warnings=(*result.warnings, note),
        status="warn" if result.status == "ok" else result.status,
    )
