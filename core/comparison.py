"""Differences of divergences from one shared reference, which is counted once."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SampleError, SettingError
from divmatch.estimator import Blocks, Estimate, Estimator
from divmatch.inference import (
    estimate_of,
    result_of,
    seed_of,
)
from divmatch.intervals import (
    Subsampled,
    extrapolated,
    fraction_of,
    normal_quantile,
    subsampled,
)
from divmatch.kernels.execution import one_blas_thread
from divmatch.permutations import shuffled_pool
from divmatch.record import Interval, Note, Result
from divmatch.samples import Samples, check_partners

Array = NDArray[np.float64]
POWER = 0.8  # of the experiment that would settle a gap


@dataclass(frozen=True, eq=False)
class Standing:
    """One candidate's divergence from the reference, with what its difference from another's needs.

    ``settings`` are checked, those left to the data fixed. ``of_reference`` and ``of_rows`` are the
    deviations that the rows of the reference and of the candidate account for: the sum of their
    squares is the variance. ``subsamples`` have the same rows of the reference for all candidates;
    ``own_se`` is the standard error of a method that corrects theirs. ``method`` is that of the
    interval.
    """

    result: Result
    estimate: Estimate
    method: str
    of_reference: Array | None = None
    of_rows: Array | None = None
    subsamples: Subsampled | None = None
    own_se: float | None = None
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
    method: str = "influence"
    p_value: float | None = None
    resamples: int = 0

    @property
    def interval(self) -> Interval | None:
        """The interval, with its method."""
        if self.low is None or self.high is None:
            return None
        return Interval(self.level, self.low, self.high, self.method, self.resamples)

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
        estimates = [estimate_of(estimator, estimator, reference, y, seeded) for y in candidates]
        found = held(estimator, seeded, reference, candidates, estimates)
        if any(one.params[key] != found[key] for one in estimates for key in found):
            seeded |= found
            estimates = [
                estimate_of(estimator, estimator, reference, y, seeded) for y in candidates
            ]
        spreads: list[Subsampled | None] = [None] * len(candidates)
        if estimator.interval == "subsampling":
            spreads = _spreads(estimator, reference, candidates, seeded, seed)
        given = {key: seeded[key] for key in settings}
        made = []
        for y, estimate, spread in zip(candidates, estimates, spreads, strict=True):
            result = result_of(estimator, reference, y, given, estimate, spread, level)
            one = standing(estimator, reference, y, estimate, spread, result)
            made.append(replace(one, settings={**given, **found}))
    chosen = _choices(made)
    if chosen is not None:
        made = [replace(one, result=_noted(one.result, chosen)) for one in made]
    return made


def standing(
    estimator: Estimator,
    reference: Samples,
    candidate: Samples,
    estimate: Estimate,
    spread: Subsampled | None,
    result: Result,
) -> Standing:
    """What later comparisons need of one estimate."""
    notes = tuple(
        replace(note, message=note.message.removesuffix("; use --permutations for a p-value"))
        for note in result.warnings
    )
    terms = [estimate.terms_x, estimate.terms_y]
    own_se = None
    if estimator.standard_error:  # its influences may be of one sample alone
        own_se = estimator.standard_error(estimate, spread, reference, candidate)
        terms = [
            np.zeros(one.n) if found is None else found
            for one, found in zip((reference, candidate), terms, strict=True)
        ]
    return Standing(
        replace(result, sample=candidate.name, warnings=notes),
        estimate,
        estimator.interval,
        of_reference=_deviations(reference, terms[0]),
        of_rows=_deviations(candidate, terms[1]),
        subsamples=spread,
        own_se=own_se,
        rate=estimator.rate(reference.d) if estimator.rate else None,
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
    if a.method == "subsampling":
        found = _of_draws(a, b, paired)
        se = spread = None if found is None else found.se
        if found is not None and a.rate is not None:
            correction = extrapolated(value, found, a.rate)
            bias, doubt, spread = correction.bias, correction.doubt, correction.se
    elif a.method == "blocks":
        se = spread = _of_blocks(a.estimate.blocks, b.estimate.blocks, paired)
    else:
        se = spread = _of_rows(a, b, paired)
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
        method=a.method,
        p_value=_normal_p(max(abs(centre) - doubt, 0.0), spread),
        resamples=a.result.ci.resamples if a.result.ci else 0,
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
    words = automatic(estimator, settings)
    found = [{key: one.params[key] for key in words if key in one.params} for one in estimates]
    if all(one == found[0] for one in found):
        return found[0]
    pool = candidates[0]
    for candidate in candidates[1:]:
        pool = shuffled_pool(pool, candidate, 0)[0]
    params = estimator(reference, pool, **settings).params
    return {key: params[key] for key in words if key in params}


def automatic(estimator: Estimator, settings: Mapping[str, Any]) -> list[str]:
    """The settings that are a word in the place of a number: the data decide."""
    return [
        s.name
        for s in estimator.settings
        if isinstance(settings[s.name], str) and {int, float} & set(s.types)
    ]


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


def _of_rows(a: Standing, b: Standing, paired: bool) -> float | None:
    if a.of_reference is None or b.of_reference is None or a.of_rows is None or b.of_rows is None:
        return None
    parts = [a.of_reference - b.of_reference]
    parts += [a.of_rows - b.of_rows] if paired else [a.of_rows, b.of_rows]
    variance = sum(float(part @ part) for part in parts)
    return math.sqrt(variance) if math.isfinite(variance) else None


def _of_blocks(a: Blocks | None, b: Blocks | None, paired: bool) -> float | None:
    """Blocks of the same rows of the reference are subtracted; others may be alike in any way."""
    if a is None or b is None or a.se is None or b.se is None:
        return None
    if paired or len(a.influences) != len(b.influences) or not np.array_equal(a.rows, b.rows):
        return a.se + b.se
    return Blocks(a.influences - b.influences, a.rows).se


def _of_draws(a: Standing, b: Standing, paired: bool) -> Subsampled | None:
    """The difference on subsamples; a method's own error is to that of its subsamples as here."""
    one, other = a.subsamples, b.subsamples
    if one is None or other is None or one.values is None or other.values is None:
        return None
    draws, fraction = one.values - other.values, one.fraction
    se = float(draws.std(ddof=1)) * math.sqrt(fraction / (1 - fraction))
    if a.own_se is not None and b.own_se is not None:
        own, plain = math.hypot(a.own_se, b.own_se), math.hypot(one.se, other.se)
        least = _of_rows(a, b, paired) or 0.0
        se = max(se * own / plain if plain > 0 else own, least)
    return Subsampled(float(draws.mean()), se, fraction) if math.isfinite(se) else None


def _normal_p(distance: float, spread: float) -> float | None:
    """Two-sided, above 0; none where nothing varies."""
    if spread == 0:
        return 1.0 if distance == 0 else None
    return max(math.erfc(distance / spread / math.sqrt(2)), sys.float_info.min)


def _spreads(
    estimator: Estimator,
    reference: Samples,
    candidates: Sequence[Samples],
    settings: Mapping[str, Any],
    seed: int,
) -> list[Subsampled | None]:
    """Values on subsamples of one fraction: every candidate meets the same rows of the reference."""
    fraction = fraction_of(reference, *candidates)
    return [
        subsampled(estimator, reference, y, [settings], seed, fraction=fraction)[0]
        for y in candidates
    ]


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
