"""Uncertainty for any estimator: intervals from influence terms or subsamples, permutation tests.

No estimator resamples by itself. All numbers follow from the seed, whatever the number of threads.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Array, Estimate, Estimator, Pooled, Quantity, quantity
from divmatch.intervals import Subsampled, interval_of, normal_quantile, subsampled
from divmatch.kernels.execution import execution, one_blas_thread
from divmatch.randomness import stream
from divmatch.record import Note, Result, Test
from divmatch.samples import (
    Samples,
    as_samples,
    check_partners,
    check_squares,
    densities_at,
    with_beside,
)

SPLITS = 512  # splits a pass: enough to drown the cost of making the tiles, few enough for memory
DETECTABLE_POWER = 0.8


def infer(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    settings: Mapping[str, Any],
    **options: Any,
) -> Result:
    """Estimate, interval and, for ``permutations`` > 0, p-value, as one result: see `infer_all`."""
    return infer_all(estimator, x, y, [settings], **options)[0]


def infer_all(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    several: Sequence[Mapping[str, Any]],
    *,
    level: float = 0.95,
    permutations: int = 0,
    seed: int = 0,
    kept: list[tuple[Estimate, Subsampled | None]] | None = None,
) -> list[Result]:
    """One result for each set of settings; they share subsamples, splits and neighbour searches.

    Parameters
    ----------
    estimator : Estimator
        The method of a quantity.
    x, y : Samples
        The reference P and the candidate Q, with the same columns; y is None for a quantity of P
        alone.
    several : sequence of mappings
        Checked settings of the estimator.
    level : float
        Confidence level of the interval, in (0, 1).
    permutations : int
        B; the p-value is (1 + #{T_b >= T}) / (B + 1), exact in level for any n and m.
    seed : int
        Seed of all randomness.
    kept : list, optional
        Is given every estimate with its subsamples, for those who compare results.

    Returns
    -------
    list of Result
        Value, standard error, interval, test and coded warnings.
    """
    if estimator.paired:
        check_squares(x)
        if permutations:
            raise SettingError(
                "--permutations: rows of Q are needed, --log-q has none; leave it out"
            )
    else:
        check_partners(x, y)
    if not 0 < level < 1:
        raise SettingError(f"--level {level}: expected a number above 0, below 1")
    if permutations < 0 or seed < 0:
        name, value = ("permutations", permutations) if permutations < 0 else ("seed", seed)
        raise SettingError(f"--{name} {value}: expected a whole number, at least 0")
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused below
        seeded = [{**settings, **seed_of(estimator, seed)} for settings in several]
        estimates = [estimate_of(estimator, x, y, settings) for settings in seeded]
        subsamples: list[Subsampled | None] = [None] * len(several)
        if estimator.interval == "subsampling":
            subsamples = subsampled(estimator, x, y, seeded, seed)
        if kept is not None:
            kept += zip(estimates, subsamples, strict=True)
        tests = [estimate.test for estimate in estimates]
        if permutations:
            pool, observed = (x, None) if y is None else shuffled_pool(x, y, seed)
            for i, estimate in enumerate(estimates):
                held = {**seeded[i], **_held(estimate, seeded[i])}
                tests[i] = _test(estimator, pool, observed, held, permutations, seed)
    made = []
    for settings, estimate, found, test in zip(several, estimates, subsamples, tests, strict=True):
        result = result_of(estimator, x, y, settings, estimate, found, level)
        notes = tuple(_advised(note, tested=test is not None) for note in result.warnings)
        made.append(
            replace(result, test=test, warnings=notes, id=_id(estimator, settings, len(several)))
        )
    return made


def estimate_of(
    estimator: Estimator, x: Samples, y: Samples | None, settings: Mapping[str, Any]
) -> Estimate:
    """The estimate, if there is one."""
    estimate = estimator(x, y, **settings)
    if math.isnan(estimate.value):
        names = x.name if y is None else f"{x.name} and {y.name}"
        raise InconclusiveError(
            f"{estimator.quantity.name}: undefined for {names}; too few rows carry weight"
        )
    return estimate


def _id(estimator: Estimator, settings: Mapping[str, Any], several: int) -> str:
    """The metric as --metrics would name it, where one command gives several results."""
    if several == 1:
        return ""
    own = [f"{s.name}={settings[s.name]}" for s in estimator.settings if s.many]
    return f"{estimator.quantity.name}:{','.join(own)}"


def result_of(
    estimator: Estimator,
    x: Samples,
    y: Samples | None,
    settings: Mapping[str, Any],
    estimate: Estimate,
    found: Subsampled | None,
    level: float,
) -> Result:
    """Estimate and subsamples, dressed as a result without a test."""
    se, interval, bias, notes = interval_of(estimator, estimate, found, x, y, level)
    notes = (
        *estimate.notes,
        *_infinite_notes(estimate),
        *_weight_notes(x, y),
        *_doubts(estimator, x, y, settings),
        *notes,
    )
    of = estimator.quantity
    return Result(
        metric=of.name,
        method=estimator.method,
        value=estimate.value + 0.0,  # no minus zero
        unit=of.unit_of(settings),
        direction=of.direction,
        n=(x.n,) if y is None or estimator.paired else (x.n, y.n),
        d=x.d,
        se=se,
        ci=interval,
        error=None if estimate.error is None else {"monte_carlo_se": estimate.error},
        bias={"estimate": bias, "corrected": "interval"} if bias else None,
        params={**settings, **estimate.params},
        exact=estimate.exact,
        status="ok" if math.isfinite(estimate.value) and not notes else "warn",
        warnings=notes,
    )


def _doubts(
    estimator: Estimator, x: Samples, y: Samples | None, settings: Mapping[str, Any]
) -> tuple[Note, ...]:
    """What the data say against that which the settings take for granted."""
    return tuple(
        note
        for setting in estimator.settings
        if setting.assumption is not None and settings.get(setting.name) is not None
        for note in setting.assumption(x, y, settings[setting.name])
    )


def seed_of(estimator: Estimator, seed: int) -> dict[str, Any]:
    """The hidden setting of methods that draw random numbers."""
    return {"rng": stream(seed, estimator.quantity.name, "method")} if estimator.random else {}


def _held(estimate: Estimate, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Automatic settings as they came out on the pooled data: the same for every split."""
    return {name: estimate.params[name] for name in settings if name in estimate.params}


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


def _weight_notes(x: Samples, y: Samples | None) -> tuple[Note, ...]:
    notes = []
    for samples in (x, y):
        if samples is None or samples.weights is None:
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
    return _test(estimator, *shuffled_pool(x, y, seed), settings, permutations, seed)


def _test(
    estimator: Estimator,
    pool: Samples,
    observed: NDArray[np.bool_] | None,
    settings: Mapping[str, Any],
    permutations: int,
    seed: int,
) -> Test:
    plan = estimator.plan(pool, **settings)
    return permuted(plan, pool.n, observed, permutations, seed, estimator.quantity.name)


def permuted(
    plan: Pooled,
    n: int,
    observed: NDArray[np.bool_] | None,
    permutations: int,
    seed: int,
    name: str,
) -> Test:
    """The test whether a statistic is larger at the observed split, signs or order than at random ones."""
    with np.errstate(all="ignore"):  # a split without any weight is undefined: it counts against us
        splits = _all_splits(plan, *_draws(plan, n, observed), permutations, seed)
    first, values = float(splits[0]), splits[1:]
    if math.isnan(first) or first == -math.inf:
        raise InconclusiveError(f"{name}: {first} cannot be compared in a test")
    bar = first  # inf is as large as another inf, and larger than any number
    if math.isfinite(first):
        bar -= max(plan.rounding(), 1e-12 * abs(first))
    as_large = int(np.count_nonzero(~(values < bar)))  # an undefined value counts against us
    return Test(
        p_value=(1 + as_large) / (1 + permutations),
        method="wild-bootstrap" if plan.draws == "signs" else "permutation",
        permutations=permutations,
        null=_null(values),
    )


Draw = Callable[[np.random.Generator], NDArray[Any]]


def _draws(plan: Pooled, n: int, labels: NDArray[np.bool_] | None) -> tuple[NDArray[Any], Draw]:
    """What was observed, and how to draw another one under the null hypothesis."""
    if plan.draws == "signs":
        return np.ones(n), lambda rng: 1.0 - 2.0 * rng.integers(0, 2, n)
    if plan.draws == "orders":
        own = np.tile(np.arange(n), plan.moved)
        return own, lambda rng: np.concatenate([rng.permutation(n) for _ in range(plan.moved)])
    observed = np.ones(n, dtype=bool) if labels is None else labels
    return observed, lambda rng: rng.permutation(observed)


def _all_splits(
    plan: Pooled, observed: NDArray[Any], draw: Draw, permutations: int, seed: int
) -> Array:
    """The statistic of the observed draw and of every random one, in one pass over the pool."""
    blocks = _splits(observed, draw, permutations, seed)
    return np.concatenate([plan.statistic(labels) for labels in blocks])


def pool_order(rows: int, seed: int) -> NDArray[np.intp]:
    """The random order of the pool: x's rows are the first of those that it numbers."""
    return stream(seed, "pool").permutation(rows)


def shuffled_pool(x: Samples, y: Samples, seed: int) -> tuple[Samples, NDArray[np.bool_]]:
    """The rows of both samples in random order, and which of them are of x."""
    order = pool_order(x.n + y.n, seed)
    points = np.concatenate([x.points, y.points])[order]
    weights = None
    if x.weights is not None or y.weights is not None:
        both = np.concatenate([x.masses() * x.n, y.masses() * y.n])[order]
        weights = both / both.sum()
    return Samples(points, weights, "pool", x.columns), order < x.n


def _splits(
    observed: NDArray[Any], draw: Draw, permutations: int, seed: int
) -> Iterator[NDArray[Any]]:
    """The observed draw, then random ones, in blocks that fit the memory.

    The b-th draw does not depend on the blocks.
    """
    rng = stream(seed, "permutations")
    rows = len(observed)
    block = max(1, min(permutations + 1, SPLITS, execution().memory // (40 * rows)))
    for start in range(0, permutations + 1, block):
        size = min(block, permutations + 1 - start)
        labels = np.empty((size, rows), dtype=observed.dtype)
        for b in range(size):
            labels[b] = draw(rng) if start + b else observed
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
    """The Python function of a quantity: `divmatch.energy(x, y, power=1, permutations=999)`.

    Where Q may be known by its density, ``log_q`` holds ln q at the rows of x in the place of y.
    """
    wanted = quantity(name)
    if wanted.alone:
        return _function_of_one(wanted)

    def measure(
        x: Any,
        y: Any = None,
        *,
        log_q: Any = None,
        method: str | None = None,
        weights_x: Any = None,
        weights_y: Any = None,
        level: float = 0.95,
        permutations: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        p = as_samples(x, "x", weights_x)
        if (y is None) == (log_q is None):
            raise SettingError(
                f"{name}: expected the rows y of Q{', or log_q' * bool(wanted.known)}"
            )
        if log_q is None:
            chosen, q = wanted.chosen(method, settings), as_samples(y, "y", weights_y)
        else:
            chosen, q = wanted.chosen_for_density(method), densities_at(p, log_q)
            if weights_y is not None:
                raise SettingError("weights_y: rows of Q are needed, log_q has none; leave it out")
        return infer(
            chosen,
            p,
            q,
            chosen.checked(settings),
            level=level,
            permutations=permutations,
            seed=seed,
        )

    measure.__name__ = measure.__qualname__ = name
    measure.__doc__ = wanted.methods[wanted.default].doc
    return measure


def _function_of_one(wanted: Quantity) -> Any:
    """The Python function of a quantity of one sample: `divmatch.ksd(x, target="gaussian:0,1")`."""

    def measure(
        sample: Any,
        /,
        *,
        method: str | None = None,
        weights: Any = None,
        level: float = 0.95,
        permutations: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> Result:
        chosen = wanted.chosen(method, settings)
        x = as_samples(sample, "x", weights)
        for setting in chosen.settings:
            if setting.per_row and settings.get(setting.name) is not None:
                values = settings[setting.name]
                x = with_beside(x, setting.name, values, wide=setting.per_row == "row")
                settings = {**settings, setting.name: "given"}
        checked = chosen.checked(settings)
        return infer(chosen, x, None, checked, level=level, permutations=permutations, seed=seed)

    measure.__name__ = measure.__qualname__ = wanted.name
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
