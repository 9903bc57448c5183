"""Uncertainty for any estimator: intervals from influence terms or subsamples, permutation tests.

No estimator resamples by itself. All numbers follow from the seed, whatever the number of threads.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import Array, Estimate, Estimator, Labels, Pooled, quantity
from divmatch.kernels.execution import execution, in_order, one_blas_thread
from divmatch.randomness import stream
from divmatch.record import Interval, Note, Result, Test
from divmatch.samples import Samples, as_samples, check_partners

SUBSAMPLES = 100
NEIGHBOURS_NOISE = 0.3  # share of the variance that a mean over sparser samples does not have
FARTHEST = 5.0  # most that a bias may be, times its growth on subsamples: about ten columns
SPLITS = 512  # splits a pass: enough to drown the cost of making the tiles, few enough for memory
DETECTABLE_POWER = 0.8


def infer(
    estimator: Estimator,
    x: Samples,
    y: Samples,
    settings: Mapping[str, Any],
    *,
    level: float = 0.95,
    permutations: int = 0,
    seed: int = 0,
) -> Result:
    """Estimate, interval and, for ``permutations`` > 0, p-value, as one result.

    Parameters
    ----------
    estimator : Estimator
        The method of a quantity.
    x, y : Samples
        The reference P and the candidate Q, with the same columns.
    settings : mapping
        Checked settings of the estimator.
    level : float
        Confidence level of the interval, in (0, 1).
    permutations : int
        B; the p-value is (1 + #{T_b >= T}) / (B + 1), exact in level for any n and m.
    seed : int
        Seed of all randomness.

    Returns
    -------
    Result
        Value, standard error, interval, test and coded warnings.
    """
    check_partners(x, y)
    if not 0 < level < 1:
        raise SettingError(f"--level {level}: expected a number above 0, below 1")
    if permutations < 0 or seed < 0:
        name, value = ("permutations", permutations) if permutations < 0 else ("seed", seed)
        raise SettingError(f"--{name} {value}: expected a whole number, at least 0")
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused below
        seeded = {**settings, **_seed_of(estimator, seed)}
        estimate = estimator(x, y, **seeded)
        if math.isnan(estimate.value):
            raise InconclusiveError(
                f"{estimator.quantity.name}: undefined for {x.name} and {y.name}; "
                "too few rows carry weight"
            )
        se, interval, bias, notes = _interval(estimator, estimate, x, y, seeded, level, seed)
        test = None
        if permutations:
            held = {**seeded, **_held(estimate, seeded)}
            test = permutation_test(estimator, x, y, held, permutations=permutations, seed=seed)
    notes = (*estimate.notes, *_infinite_notes(estimate), *_weight_notes(x, y), *notes)
    notes = tuple(_advised(note, tested=test is not None) for note in notes)
    of = estimator.quantity
    return Result(
        metric=of.name,
        method=estimator.method,
        value=estimate.value + 0.0,  # no minus zero
        unit=of.unit_of(settings),
        direction=of.direction,
        n=(x.n, y.n),
        d=x.d,
        se=se,
        ci=interval,
        test=test,
        error=None if estimate.error is None else {"monte_carlo_se": estimate.error},
        bias={"estimate": bias, "corrected": "interval"} if bias else None,
        params={**settings, **estimate.params},
        exact=estimate.exact,
        status="ok" if math.isfinite(estimate.value) and not notes else "warn",
        warnings=notes,
    )


def _seed_of(estimator: Estimator, seed: int) -> dict[str, Any]:
    """The hidden setting of methods that draw random numbers."""
    return {"rng": stream(seed, estimator.quantity.name, "method")} if estimator.random else {}


def _held(estimate: Estimate, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Automatic settings as they came out on the pooled data: the same for every split."""
    return {name: estimate.params[name] for name in settings if name in estimate.params}


# ---------------------------------------------------------------------------------- intervals


def _interval(
    estimator: Estimator,
    estimate: Estimate,
    x: Samples,
    y: Samples,
    settings: Mapping[str, Any],
    level: float,
    seed: int,
) -> tuple[float | None, Interval | None, float, tuple[Note, ...]]:
    """Standard error of the value, interval, bias that the interval is moved by, warnings."""
    if not math.isfinite(estimate.value):
        return None, None, estimate.bias, ()
    found: Subsampled | None = None
    if estimator.interval == "influence":
        se, resamples = influence_se(estimate, x, y), 0
    else:
        found = subsampled(estimator, x, y, settings, seed)
        se, resamples = found.se if found else None, SUBSAMPLES
    if se is None or not math.isfinite(se):
        few = Note("W10", f"n = {x.n}, {y.n}: too few rows for a standard error")
        return None, None, estimate.bias, (few,)
    se = math.hypot(se, estimate.error or 0.0)
    correction = Correction(estimate.bias, se)
    if found and estimator.rate:
        correction = extrapolated(estimate.value, replace(found, se=se), estimator.rate(x.d))
    notes = correction.notes()
    said = {note.code for note in estimate.notes}
    if estimator.quantity.degenerate and estimate.value < 2 * se and "W04" not in said:
        notes = (
            *notes,
            Note(
                "W04",
                f"value is not above two standard errors ({estimate.value:.3g} < 2 x {se:.2g}): "
                "the interval is not valid there",
            ),
        )
    centre = estimate.value - correction.bias
    half = normal_quantile(0.5 + level / 2) * correction.se + correction.doubt
    ci = Interval(level, centre - half, centre + half, estimator.interval, resamples)
    return se, ci, correction.bias, notes


def influence_se(estimate: Estimate, x: Samples, y: Samples) -> float | None:
    """sqrt(Σ aᵢ² (ψᵢ − ψ̄)² / (1 − Σ aᵢ²) + the same for y): s²/n + s²/m for equal weights."""
    if estimate.terms_x is None or estimate.terms_y is None:
        return None
    variance = 0.0
    for samples, terms in ((x, estimate.terms_x), (y, estimate.terms_y)):
        weights = samples.masses()
        left = 1.0 - float(weights @ weights)
        if samples.n < 2 or left <= 0:
            return None
        centred = terms - weights @ terms
        variance += float(np.sum((weights * centred) ** 2)) / left
    return math.sqrt(variance)


@dataclass(frozen=True)
class Subsampled:
    """The mean of an estimate on subsamples of a fraction of the rows; its error on all rows."""

    mean: float
    se: float
    fraction: float


def subsampled(
    estimator: Estimator, x: Samples, y: Samples, settings: Mapping[str, Any], seed: int
) -> Subsampled | None:
    """Evaluate on subsamples of a fraction q = min(n, m)^(-1/3) of both samples.

    The standard error is their standard deviation times sqrt(q / (1 − q)). They are drawn without
    replacement, because a bootstrap would create tied rows; 1 − q corrects for the finite
    population. Politis & Romano 1994.
    """
    fraction = min(x.n, y.n) ** (-1 / 3)
    if fraction == 1:
        return None
    sizes = [int(fraction * samples.n) for samples in (x, y)]
    rng = stream(seed, estimator.quantity.name, "subsampling")
    draws = [
        tuple(_subset(rng, samples.n, size) for samples, size in zip((x, y), sizes, strict=True))
        for _ in range(SUBSAMPLES)
    ]

    def value(rows: tuple[NDArray[np.intp], ...]) -> float:
        return estimator(x.take(rows[0]), y.take(rows[1]), **settings).value

    try:
        values = np.array(list(in_order(value, draws)))
    except (SampleError, InconclusiveError):
        return None
    if not np.isfinite(values).all():
        return None
    se = float(values.std(ddof=1)) * math.sqrt(fraction / (1 - fraction))
    return Subsampled(float(values.mean()), se, fraction)


def _subset(rng: np.random.Generator, n: int, size: int) -> NDArray[np.intp]:
    return np.sort(rng.choice(n, size, replace=False, shuffle=False))


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


def normal_quantile(probability: float) -> float:
    """The standard normal's quantile."""
    if probability == 0.975:
        return 1.959963984540054  # the default level must not pay 15 ms for `statistics`
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def _advised(note: Note, *, tested: bool) -> Note:
    """What to go by where the interval is not valid: the p-value."""
    if note.code != "W04":
        return note
    advice = "go by the p-value" if tested else "use --permutations for a p-value"
    return replace(note, message=f"{note.message}; {advice}")


def _infinite_notes(estimate: Estimate) -> tuple[Note, ...]:
    """Say that an infinite value is not a finding, where the method has not said it."""
    if math.isfinite(estimate.value) or any(note.code == "W02" for note in estimate.notes):
        return ()
    message = "the rows that carry weight give no finite number: the value decides no limit"
    return (Note("W02", message),)


def _weight_notes(x: Samples, y: Samples) -> tuple[Note, ...]:
    notes = []
    for samples in (x, y):
        if samples.weights is None:
            continue
        size, most = samples.effective_size(), float(samples.weights.max())
        if size < 10 or most > 0.1:
            notes.append(
                Note(
                    "W08",
                    f"{samples.name}: the weights are worth {size:.3g} equal rows and the largest "
                    f"is {most:.0%} of the total",
                )
            )
    return tuple(notes)


# ------------------------------------------------------------------------------- permutations


def permutation_test(
    estimator: Estimator,
    x: Samples,
    y: Samples,
    settings: Mapping[str, Any],
    *,
    permutations: int,
    seed: int = 0,
) -> Test:
    """Exact in level for any n and m: p = (1 + #{T_b >= T}) / (B + 1), ties against us.

    Rows keep their weights when their labels move. The pool is put in random order first, so that
    a plan that breaks ties by row number cannot see the labels.
    """
    pool, observed = _shuffled_pool(x, y, seed)
    plan = estimator.plan(pool, **settings)
    with np.errstate(all="ignore"):  # a split without any weight is undefined: it counts against us
        splits = _all_splits(plan, observed, permutations, seed)
    first, values = float(splits[0]), splits[1:]
    if not math.isfinite(first):
        raise InconclusiveError(f"{estimator.quantity.name}: {first} cannot be compared in a test")
    bar = first - max(plan.rounding(), 1e-12 * abs(first))
    as_large = int(np.count_nonzero(~(values < bar)))  # an undefined value counts against us
    return Test(
        p_value=(1 + as_large) / (1 + permutations),
        method="permutation",
        permutations=permutations,
        null=_null(values),
    )


def _all_splits(plan: Pooled, observed: NDArray[np.bool_], permutations: int, seed: int) -> Array:
    """The statistic of the observed split and of every random one, in one pass over the pool."""
    blocks = _splits(observed, permutations, seed)
    return np.concatenate([plan.statistic(labels) for labels in blocks])


def _shuffled_pool(x: Samples, y: Samples, seed: int) -> tuple[Samples, NDArray[np.bool_]]:
    order = stream(seed, "pool").permutation(x.n + y.n)
    points = np.concatenate([x.points, y.points])[order]
    weights = None
    if x.weights is not None or y.weights is not None:
        both = np.concatenate([x.masses() * x.n, y.masses() * y.n])[order]
        weights = both / both.sum()
    return Samples(points, weights, "pool"), order < x.n


def _splits(observed: NDArray[np.bool_], permutations: int, seed: int) -> Iterator[Labels]:
    """The observed labels, then random ones, in blocks that fit the memory.

    The b-th split does not depend on the blocks.
    """
    rng = stream(seed, "permutations")
    rows = len(observed)
    block = max(1, min(permutations + 1, SPLITS, execution().memory // (40 * rows)))
    for start in range(0, permutations + 1, block):
        size = min(block, permutations + 1 - start)
        labels = np.empty((size, rows), dtype=bool)
        for b in range(size):
            labels[b] = rng.permutation(observed) if start + b else observed
        yield labels.T


def _null(values: Array) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return {}
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    high = float(np.quantile(known, 0.95, method="higher"))
    detectable = high + normal_quantile(DETECTABLE_POWER) * spread
    return {"mean": float(known.mean()), "sd": spread, "q95": high, "detectable": detectable}


# --------------------------------------------------------------------------- Python functions


def function_of(name: str) -> Any:
    """The Python function of a quantity: `divmatch.energy(x, y, power=1, permutations=999)`."""
    wanted = quantity(name)

    def measure(
        x: Any,
        y: Any,
        *,
        method: str | None = None,
        weights_x: Any = None,
        weights_y: Any = None,
        level: float = 0.95,
        permutations: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        chosen = wanted.chosen(method)
        return infer(
            chosen,
            as_samples(x, "x", weights_x),
            as_samples(y, "y", weights_y),
            chosen.checked(settings),
            level=level,
            permutations=permutations,
            seed=seed,
        )

    measure.__name__ = measure.__qualname__ = name
    measure.__doc__ = wanted.methods[wanted.default].doc
    return measure


def in_bits(result: Result) -> Result:
    """A result in nats, divided by ln 2."""
    if result.unit != "nats":
        raise SettingError(f"--unit bits: {result.metric} is not measured in nats")
    scale = 1 / math.log(2)
    ci, test = result.ci, result.test
    if ci:
        ci = replace(ci, low=ci.low * scale, high=ci.high * scale)
    if test:
        test = replace(test, null={key: value * scale for key, value in test.null.items()})
    bias = result.bias
    if bias:
        bias = {**bias, "estimate": bias["estimate"] * scale}
    return replace(
        result,
        bias=bias,
        value=result.value * scale,
        unit="bits",
        se=None if result.se is None else result.se * scale,
        ci=ci,
        test=test,
    )
